// SPDX-License-Identifier: MIT

// Winner of two entries of a pooling window, combinational.
//
// The later entry replaces the earlier one only if its potential is strictly greater, so that
// among equal potentials the entry with the lowest row-major index wins (as in numpy.argmax).
// Every comparison of the block is an instance of this module.
//
// Width         bits of the signed (two's complement) potential
// PayloadWidth  bits that travel with the potential: the spike, above it the index if there is one

`default_nettype none

module spike_max_pool_winner #(
    parameter integer Width = 16,
    parameter integer PayloadWidth = 1
) (
    input  wire logic signed [       Width-1:0] earlier_potential_i,
    input  wire logic        [PayloadWidth-1:0] earlier_payload_i,
    input  wire logic signed [       Width-1:0] later_potential_i,
    input  wire logic        [PayloadWidth-1:0] later_payload_i,
    output logic signed      [       Width-1:0] potential_o,
    output logic             [PayloadWidth-1:0] payload_o
);

  logic replace;

  assign replace = later_potential_i > earlier_potential_i;
  assign potential_o = replace ? later_potential_i : earlier_potential_i;
  assign payload_o = replace ? later_payload_i : earlier_payload_i;

endmodule

`default_nettype wire
