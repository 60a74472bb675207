"""The networks, and the one loop that trains them and computes their logits."""
