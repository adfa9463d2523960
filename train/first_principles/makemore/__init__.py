"""Models of single lines, such as names: what is counted, what is learned, and a look inside while it learns.

command      the flags
lines        a file's lines and their alphabet
splits       which of them are train, dev and test
examples     lines as arrays: windows with what follows them, or whole lines shifted by one
counting     the count models
models       every neural model behind one face
recipes      every model by name: its size, and how it is trained
training     many steps per call of the device; the loss, and where it diverges
by_hand      the same training with gradients derived by pen and paper
diagnostics  activations, gradients, dead units, updates against parameters
pictures     what the diagnostics look like
sampling     new lines
run          all of it in turn, and what is left in the run's folder
"""
