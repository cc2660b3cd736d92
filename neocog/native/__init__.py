"""Machine code for exactly one network: its kernels, in a small language, and LLVM to compile them in this process.

`stages` finds what runs in one pass; `program` gives each stage memory and kernels (`gather`, `weight_gradient`,
`passes`, with `endings` for what follows in the same kernel), sized by `tiles`; `steps` and `runtime` put them together
for threads. Kinds of stages have their kernels and their `Part` in a file each, which `parts` lists; those that are one
layer by itself begin with `lone`. `engine` holds the compiled network, and `trainer` is what the training loop sees.
`single` is a second plan, for one image at a time: `one_image_tasks` says what runs in one pass, `one_image` how lanes
are filled and what follows a sum, `one_image_sums` and `one_image_windows` are its kernels, `one_image_weights` their
weights. `c` prints kernels, and `c_network` a whole network, for people to read; `decisions` says in plain values what
was chosen.
"""
