"""A task that trains in a second."""

TINY = """
name = "tiny"
version = 1
[data]
name = "synthetic"
kind = "synthetic"
image_size = 8
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
[model]
name = "allcnn"
width = 8
[train]
epochs = 3
batch_size = 32
optimizer = "sgd"
lr = 0.1
nesterov = true
weight_decay = 5e-4
schedule = "one-cycle"
[forget]
kind = "subset"
classes = ["b", "d"]
sizes = [6, 12]
[measure]
golds = 2
"""

SHARDED = TINY.replace('"tiny"', '"sharded"').replace("width = 8", "width = 8\nshards = 3")
"""The same with an ensemble as its original."""
