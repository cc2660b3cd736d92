"""Machine code for exactly one network: its kernels, in a small language, and LLVM to compile them in this process.

The room in the order in which it is best read; each part rests on those before it.

**The language.** `expressions` are values and addresses, `kernel` the statements around them: loops, stores, calls, and
registers for matrices. `llvm` prints kernels as LLVM IR, and `jit` compiles that for the processor it finds; `cache`
keeps the code. `straight` drops what leads nowhere.

**The network.** `stages` finds what runs in one pass over memory. `layout` says how volumes lie: images side by side in
the lanes of a vector, zeros around each channel.

**Products**, most of all work. `gather` is the kernel of every weighted sum, forwards and backwards, and `tiles`
chooses how many outputs it holds in registers; `weight_gradient` is the kernel of the way back to the weights.
`packing` brings weights into the order of reading, `streamed` is for those that no cache holds. `tiled_gather` and
`tiled_weights` do the same by registers for matrices, `halving` rounds to pairs of bfloat16. `convolution` says what a
convolution gathers, through its stride and back. `endings` are what happens to sums, and to gradients, before they
leave the registers; `elementary` the functions of one value. `winograd` has 3x3 convolutions in fewer products, which
`filtered_gather` makes of images in lanes; its own kernels are for torch's volumes, and so is `winograd_gradient`, the
way back to the weights: `torch_engine/winograd.py` runs them.

**Parts.** `program` owns what stages share: memory, parameters, lists of calls. A `part` is a stage in it: the calls
that make its volume, and those that bring the volume's gradient back. The large kinds are `weighted` (with what is
`deconv`), `blending` with `batch_norm`, and `pooling` with `stochastic`. A layer that is a stage by itself is a `lone`
part: `contrast` and `response` (on `boxes` of neighbours), `dropout`, `group_norm`, `local`, `pointwise`, `pyramid`,
`radial`, `side`, `upsampling`. `parts` lists them all. `passes` are kernels beside the products, `losses` the beginning
of the way back, `optimizers` its end.

**A step.** `lifetimes` lets what is not needed at the same time share memory, and `sizes` adds up how much that is.
`groups` of blocks have gradients of their own. `step_calls` lists what a step calls, `steps` prints it for threads, and
`runtime` is how they wait for each other. `engine` is the compiled network, with its `memory`, its `workers`, and the
`blocks` that images lie in; `parameters` brings arrays in and out, `feeding` images as bytes. `trainer` is what the
training loop sees.

**One image.** A second plan for few images, as soon as possible: `one_image_tasks` says what runs in one pass,
`one_image` how lanes are filled and what follows a sum, `one_image_sums` and `one_image_windows` are its kernels,
`one_image_weights` their weights, and `single` puts them together.

**Looking at it.** `c` prints kernels as C with `c_helpers`, and `c_network` a whole network with the driver of
`c_driver`; `c_calls` and `places` have the words for it. `decisions` are what was chosen, in plain values. `footprint`
is how much memory a step takes, `effort` counts what kernels do, and `pace` makes seconds of it.
"""
