"""The tree's configuration, step keys, the cache, and the graph that SCons walks."""
