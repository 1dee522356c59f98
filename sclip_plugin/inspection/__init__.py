"""What a model makes of unpaired images: their pseudo-captions and keywords, as data and as a picture.

    pictures     a few samples out of training shards
    labels       the pseudo-captions and keywords of images
    panel        labelled images drawn, as a picture or a page
    epoch_panel  the panel that a training run draws after every epoch

`sclip inspect` and the image panel of a training run are made of these.
"""
