"""Front ends: from the frameworks in which networks are trained to a `bsnn.graph.Graph`."""
