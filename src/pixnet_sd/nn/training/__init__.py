"""Train a model.

loss, config            losses and the table of their names; hyperparameters
crops, dataset          shapes of a slide in crops; what a batch is made of
cache, prepare          features of frozen encoders, computed once
augment                 random views of a crop
memory                  steps in parts, so that they fit
state, loop             one network while it trains; batches, forward, loss, step
evaluate, fit           scores of predictions; from slides to a model
ridge, pooled           the closed-form baseline
checkpoint, distributed resume a training; several processes
"""
