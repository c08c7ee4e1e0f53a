"""López-Randulfe, Reeb, Knoll: Conversion of ConvNets to Spiking Neural Networks With Less Than
One Spike per Neuron. Conference on Cognitive Computational Neuroscience, 2022.

A CNN on MNIST whose neurons code a value by the time of their only spike.
"""
