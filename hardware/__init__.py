"""The pooling block in SystemVerilog and what tests it; not Python, but files that bsnn finds here."""
