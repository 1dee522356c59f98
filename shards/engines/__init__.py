"""Who does the work on images and shards: threads or processes of this machine, or the machines of a Ray cluster.

What is done, in which order and into which shard is decided before; an engine only calls a function for each item and
gives the results in order. So the bytes are the same with every engine and every number of workers. Another engine
(Spark, say) is a class as `engine.Engine` describes it, in a file of its own, and a line in `commands/flags/engine.py`.
"""
