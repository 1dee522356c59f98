"""What a model makes of unpaired images: their pseudo-captions and keywords, as data and as a picture."""
