"""Six cells of a backend that notes each process it is measured in. Named so that pytest does not
collect it by itself.
"""

from evenbench.harness import BATCH, Case, Model, TensorSpec

TINY = Model(
    name="tiny",
    build="nobody.builds:this",
    inputs=(TensorSpec("x", (BATCH, 4)),),
    outputs=(TensorSpec("y", (BATCH, 2)),),
    inputs_from="harness.inputs:standard_normal",
)

fine = Case(models=(TINY,), backends=("fine",), batch=(1, 2, 3, 4, 5, 6))
