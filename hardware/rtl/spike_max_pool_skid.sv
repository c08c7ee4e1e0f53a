// SPDX-License-Identifier: MIT

// Register slice with a skid buffer: all outputs are registers, in both directions, and a word
// a cycle passes as long as the receiver is ready.
//
// Width  bits of a word

`default_nettype none

module spike_max_pool_skid #(
    parameter integer Width = 8
) (
    input wire logic clk_i,
    input wire logic rst_ni, // synchronous, active low

    input  wire logic             valid_i,
    output logic                  ready_o,
    input  wire logic [Width-1:0] data_i,

    output logic                  valid_o,
    input  wire logic             ready_i,
    output logic      [Width-1:0] data_o
);

  logic ready_d, ready_q;
  logic out_valid_d, out_valid_q;
  logic skid_valid_d, skid_valid_q;
  logic [Width-1:0] out_d, out_q;
  logic [Width-1:0] skid_d, skid_q;
  logic push;

  assign push = valid_i && ready_q;

  always_comb begin
    out_valid_d = out_valid_q;
    out_d = out_q;
    skid_valid_d = skid_valid_q;
    skid_d = skid_q;
    if (!out_valid_q || ready_i) begin
      // the sender was stopped while the skid buffer holds a word: at most one of both is there
      out_valid_d = skid_valid_q || push;
      out_d = skid_valid_q ? skid_q : data_i;
      skid_valid_d = 1'b0;
    end else if (push) begin
      skid_valid_d = 1'b1;
      skid_d = data_i;
    end
    ready_d = !skid_valid_d;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      ready_q <= 1'b0;
      out_valid_q <= 1'b0;
      skid_valid_q <= 1'b0;
    end else begin
      ready_q <= ready_d;
      out_valid_q <= out_valid_d;
      skid_valid_q <= skid_valid_d;
    end
  end

  always_ff @(posedge clk_i) begin
    out_q  <= out_d;
    skid_q <= skid_d;
  end

  assign ready_o = ready_q;
  assign valid_o = out_valid_q;
  assign data_o  = out_q;

endmodule

`default_nettype wire
