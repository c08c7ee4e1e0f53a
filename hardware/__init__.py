"""The pooling block in SystemVerilog and what tests it: no Python, but files that bsnn finds here."""
