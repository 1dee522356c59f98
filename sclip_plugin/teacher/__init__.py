"""What a model that does not learn makes of the data before training: whose caption an unpaired image gets, and trust.

settings    the options, their defaults and where these come from
features    the images of shards as features
agreement   how often the captions of near pairs agree, tried out on the pairs themselves
labels      the nearest pairs of every unpaired image, and how far each is trusted
"""
