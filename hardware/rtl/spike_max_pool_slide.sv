// SPDX-License-Identifier: MIT

// Winners of windows that slide along one dimension, for several interleaved lanes.
//
// The maximum is separable: one instance slides along the columns (its lanes are the channels),
// a second one along the rows (its lanes are all windows of a row of the output). One entry a
// step and lane goes in. Partial winners are kept by age: line j holds the window that began j
// strides before the youngest one, so that at the first step of a stride every window moves up
// one line and a new one begins. Windows that are still open between two steps are
// ceil((Window-1)/Stride) in number, and so are the lines.
//
// Window      steps of a window
// Stride      steps from the beginning of a window to the beginning of the next
// Lanes       interleaved sequences
// Width       bits of the signed potential
// IndexWidth  bits of the index within the window, 0: no index and no storage for it
// IndexScale  weight of a step of this dimension in the index

`default_nettype none

module spike_max_pool_slide #(
    parameter integer Window = 2,
    parameter integer Stride = 2,
    parameter integer Lanes = 1,
    parameter integer Width = 16,
    parameter integer IndexWidth = 0,
    parameter integer IndexScale = 1,
    // derived from the above, not to be set
    parameter integer PhaseWidth = (Stride > 1) ? $clog2(Stride) : 1,
    parameter integer LaneWidth = (Lanes > 1) ? $clog2(Lanes) : 1,
    parameter integer IndexPort = (IndexWidth > 0) ? IndexWidth : 1
) (
    input wire logic clk_i,

    // one entry: steps since the beginning of the stride, lane, potential, spike, index so far
    input wire logic                         valid_i,
    input wire logic        [PhaseWidth-1:0] phase_i,
    input wire logic        [ LaneWidth-1:0] lane_i,
    input wire logic signed [     Width-1:0] potential_i,
    input wire logic                         spike_i,
    input wire logic        [ IndexPort-1:0] index_i,

    // oldest open window with this entry, in the same cycle: final in the last step of a window
    output logic signed [    Width-1:0] potential_o,
    output logic                        spike_o,
    output logic        [IndexPort-1:0] index_o
);

  localparam integer Lines = (Window - 1 + Stride - 1) / Stride;
  localparam integer PayloadWidth = 1 + IndexWidth;

  logic [PayloadWidth-1:0] payload_out;

  assign spike_o = payload_out[0];
  if (IndexWidth > 0) begin : gen_index_out
    assign index_o = payload_out[IndexWidth:1];
  end else begin : gen_no_index_out
    logic unused_index;
    assign unused_index = ^index_i;
    assign index_o = '0;
  end

  if (Lines == 0) begin : gen_pass
    // a window of one step needs neither comparison nor storage
    logic unused_pass;
    assign unused_pass = ^{clk_i, valid_i, phase_i, lane_i};
    assign potential_o = potential_i;
    if (IndexWidth > 0) begin : gen_index
      assign payload_out = {index_i, spike_i};
    end else begin : gen_no_index
      assign payload_out = spike_i;
    end
  end else begin : gen_lines
    logic                          stride_begins;
    logic                          keep;
    // {line Lines-1, .., line 0} in each word
    logic [       Lines*Width-1:0] potential_q   [Lanes];
    logic [Lines*PayloadWidth-1:0] payload_q     [Lanes];
    logic [Lines*Width-1:0] potential_old, potential_new, potential_next;
    logic [Lines*PayloadWidth-1:0] payload_old, payload_new, payload_next;

    assign stride_begins = phase_i == '0;
    // and-or with the decoded lane, which writing needs anyway, is smaller than a tree of
    // multiplexers
    always_comb begin
      potential_old = '0;
      payload_old   = '0;
      for (int k = 0; k < Lanes; k++) begin
        potential_old |= potential_q[k] & {Lines * Width{lane_i == LaneWidth'(k)}};
        payload_old |= payload_q[k] & {Lines * PayloadWidth{lane_i == LaneWidth'(k)}};
      end
    end

    for (genvar j = 0; j < Lines; j++) begin : gen_line
      logic [PayloadWidth-1:0] payload_entry;

      if (IndexWidth > 0) begin : gen_index
        localparam logic [IndexWidth-1:0] Begin = IndexWidth'((j + 1) * Stride * IndexScale);
        localparam logic [IndexWidth-1:0] Inside = IndexWidth'(j * Stride * IndexScale);
        logic [IndexWidth-1:0] offset;
        // step of the entry within the window of this line; a window that is no longer open
        // gets a wrong one, and nobody looks at it
        assign offset = stride_begins ? Begin :
            IndexWidth'(Inside + IndexWidth'(phase_i) * IndexWidth'(IndexScale));
        assign payload_entry = {IndexWidth'(index_i + offset), spike_i};
      end else begin : gen_no_index
        assign payload_entry = spike_i;
      end

      spike_max_pool_winner #(
          .Width(Width),
          .PayloadWidth(PayloadWidth)
      ) u_winner (
          .earlier_potential_i(potential_old[j*Width+:Width]),
          .earlier_payload_i(payload_old[j*PayloadWidth+:PayloadWidth]),
          .later_potential_i(potential_i),
          .later_payload_i(payload_entry),
          .potential_o(potential_new[j*Width+:Width]),
          .payload_o(payload_new[j*PayloadWidth+:PayloadWidth])
      );
    end

    logic [PayloadWidth-1:0] payload_begin;
    if (IndexWidth > 0) begin : gen_index_begin
      assign payload_begin = {index_i, spike_i};
    end else begin : gen_no_index_begin
      assign payload_begin = spike_i;
    end

    for (genvar j = 0; j < Lines; j++) begin : gen_move
      if (Window == 2) begin : gen_first
        // the second step completes a window: only the first one is ever kept
        logic unused_begins;
        assign unused_begins  = stride_begins;
        assign potential_next = potential_i;
        assign payload_next   = payload_begin;
      end else if (j == 0) begin : gen_begin
        assign potential_next[Width-1:0] = stride_begins ? potential_i : potential_new[Width-1:0];
        assign payload_next[PayloadWidth-1:0] = stride_begins ?
            payload_begin : payload_new[PayloadWidth-1:0];
      end else begin : gen_age
        assign potential_next[j*Width+:Width] = stride_begins ?
            potential_new[(j-1)*Width+:Width] : potential_new[j*Width+:Width];
        assign payload_next[j*PayloadWidth+:PayloadWidth] = stride_begins ?
            payload_new[(j-1)*PayloadWidth+:PayloadWidth] :
            payload_new[j*PayloadWidth+:PayloadWidth];
      end
    end

    if (Stride < Window) begin : gen_overlap
      assign keep = 1'b1;
    end else begin : gen_no_overlap
      // the last step of a window and the gap behind it write nothing
      assign keep = phase_i < PhaseWidth'(Window - 1);
    end

    // no reset: a window is read only after it has begun in this sequence of steps
    always_ff @(posedge clk_i) begin
      if (valid_i && keep) begin
        potential_q[lane_i] <= potential_next;
        payload_q[lane_i]   <= payload_next;
      end
    end

    assign potential_o = potential_new[(Lines-1)*Width+:Width];
    assign payload_out = payload_new[(Lines-1)*PayloadWidth+:PayloadWidth];
  end

endmodule

`default_nettype wire
