// SPDX-License-Identifier: MIT

// Position of a beat in the frame: raster order, channels interleaved.
//
// A beat marked as the first of a frame is at position 0 wherever the counters stand, so that
// the block falls into step again after a lost beat. Every mark that is missing or misplaced
// sets error_o, which stays until reset; the position is not changed by a mark of the end.
//
// WindowHeight, WindowWidth, StrideHeight, StrideWidth, MapHeight, MapWidth, Channels  see
//   spike_max_pool

`default_nettype none

module spike_max_pool_raster #(
    parameter integer WindowHeight = 2,
    parameter integer WindowWidth = 2,
    parameter integer StrideHeight = 2,
    parameter integer StrideWidth = 2,
    parameter integer MapHeight = 28,
    parameter integer MapWidth = 28,
    parameter integer Channels = 1,
    // derived from the above, not to be set
    parameter integer OutHeight = (MapHeight - WindowHeight) / StrideHeight + 1,
    parameter integer OutWidth = (MapWidth - WindowWidth) / StrideWidth + 1,
    parameter integer ChannelWidth = (Channels > 1) ? $clog2(Channels) : 1,
    parameter integer RowPhaseWidth = (StrideHeight > 1) ? $clog2(StrideHeight) : 1,
    parameter integer ColumnPhaseWidth = (StrideWidth > 1) ? $clog2(StrideWidth) : 1,
    parameter integer LaneWidth = (OutWidth * Channels > 1) ? $clog2(OutWidth * Channels) : 1
) (
    input wire logic clk_i,
    input wire logic rst_ni, // synchronous, active low

    // a beat is taken over, with its marks
    input wire logic accept_i,
    input wire logic first_i,
    input wire logic last_i,

    // position of this beat, in the same cycle
    output logic [    ChannelWidth-1:0] channel_o,
    output logic [ColumnPhaseWidth-1:0] column_phase_o,
    output logic [   RowPhaseWidth-1:0] row_phase_o,
    output logic [       LaneWidth-1:0] lane_o,          // window of the output row and channel
    output logic                        column_done_o,   // last column of a window
    output logic                        row_done_o,      // last row of a window
    output logic                        first_window_o,  // first word of the frame going out
    output logic                        last_window_o,   // last word of the frame going out

    output logic error_o
);

  localparam integer ColumnWidth = (MapWidth > 1) ? $clog2(MapWidth) : 1;
  localparam integer RowWidth = (MapHeight > 1) ? $clog2(MapHeight) : 1;

  // row in which the last row of windows is finished
  localparam integer LastRow = (OutHeight - 1) * StrideHeight + WindowHeight - 1;

  logic [ChannelWidth-1:0] channel, channel_d, channel_q;
  logic [ColumnWidth-1:0] column, column_d, column_q;
  logic [RowWidth-1:0] row, row_d, row_q;
  logic [ColumnPhaseWidth-1:0] column_phase, column_phase_d, column_phase_q;
  logic [RowPhaseWidth-1:0] row_phase, row_phase_d, row_phase_q;
  logic [LaneWidth-1:0] lane, lane_d, lane_q;
  logic channel_wraps, column_wraps, row_wraps;
  logic at_start, at_end;
  logic error_q;

  assign at_start = channel_q == '0 && column_q == '0 && row_q == '0;

  assign channel = first_i ? '0 : channel_q;
  assign column = first_i ? '0 : column_q;
  assign row = first_i ? '0 : row_q;
  assign column_phase = first_i ? '0 : column_phase_q;
  assign row_phase = first_i ? '0 : row_phase_q;
  assign lane = first_i ? '0 : lane_q;

  assign channel_wraps = channel == ChannelWidth'(Channels - 1);
  assign column_wraps = column == ColumnWidth'(MapWidth - 1);
  assign row_wraps = row == RowWidth'(MapHeight - 1);
  assign at_end = channel_wraps && column_wraps && row_wraps;

  always_comb begin
    channel_d = channel_wraps ? '0 : channel + 1'b1;
    column_d = column;
    column_phase_d = column_phase;
    row_d = row;
    row_phase_d = row_phase;
    lane_d = column_done_o ? lane + 1'b1 : lane;
    if (channel_wraps) begin
      column_d = column + 1'b1;
      column_phase_d = (column_phase == ColumnPhaseWidth'(StrideWidth - 1)) ?
          '0 : column_phase + 1'b1;
      if (column_wraps) begin
        column_d = '0;
        column_phase_d = '0;
        lane_d = '0;
        row_d = row + 1'b1;
        row_phase_d = (row_phase == RowPhaseWidth'(StrideHeight - 1)) ? '0 : row_phase + 1'b1;
        if (row_wraps) begin
          row_d = '0;
          row_phase_d = '0;
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      channel_q <= '0;
      column_q <= '0;
      row_q <= '0;
      column_phase_q <= '0;
      row_phase_q <= '0;
      lane_q <= '0;
      error_q <= 1'b0;
    end else if (accept_i) begin
      channel_q <= channel_d;
      column_q <= column_d;
      row_q <= row_d;
      column_phase_q <= column_phase_d;
      row_phase_q <= row_phase_d;
      lane_q <= lane_d;
      error_q <= error_q || first_i != at_start || last_i != at_end;
    end
  end

  // with overlap, the phase of the last step occurs before the first window is complete, too
  logic column_filled, row_filled;
  if (WindowWidth > StrideWidth) begin : gen_column_overlap
    assign column_filled = column >= ColumnWidth'(WindowWidth - 1);
  end else begin : gen_no_column_overlap
    assign column_filled = 1'b1;
  end
  if (WindowHeight > StrideHeight) begin : gen_row_overlap
    assign row_filled = row >= RowWidth'(WindowHeight - 1);
  end else begin : gen_no_row_overlap
    assign row_filled = 1'b1;
  end

  assign channel_o = channel;
  assign column_phase_o = column_phase;
  assign row_phase_o = row_phase;
  assign lane_o = lane;
  assign column_done_o = column_filled &&
      column_phase == ColumnPhaseWidth'((WindowWidth - 1) % StrideWidth);
  assign row_done_o = row_filled && row_phase == RowPhaseWidth'((WindowHeight - 1) % StrideHeight);
  assign first_window_o = lane == '0 && row == RowWidth'(WindowHeight - 1);
  assign last_window_o = lane == LaneWidth'(OutWidth * Channels - 1) && row == RowWidth'(LastRow);
  assign error_o = error_q;

endmodule

`default_nettype wire
