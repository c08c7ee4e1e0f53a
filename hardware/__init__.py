"""The pooling block in SystemVerilog and what tests it: files that bsnn finds here, no Python."""
