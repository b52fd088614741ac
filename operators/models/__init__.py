"""Networks: what they see, their weights, where they are cut, how they are trained."""
