// SPDX-License-Identifier: MIT

// Max pooling of spikes, gated by a potential, on AXI4-Stream.
//
// For every window the entry with the largest potential wins, the lowest row-major index among
// equals, and the winner's spike goes out. One frame is one time step of a layer; nothing is
// kept from a frame to the next. Which potential takes part (before the input of the step is
// added, or without reset) is the choice of the sender: see README.md.
//
// In:  one beat is one channel of one pixel, in raster order with channels interleaved.
//      s_axis_tdata = {zeros, spike, potential[Width-1:0]}, tuser: first beat of a frame,
//      tlast: last beat of a frame.
// Out: one word a window and channel in the same order, without padding of the map: rows and
//      columns that fill no window are dropped. m_axis_tdata = {zeros, index, spike}.
//
// Takes a beat a cycle. No combinational path from an input to an output. A word is valid
// 1 + Pipeline cycles after the cycle in which the beat that completes its window was taken.
//
// Width         bits of the signed potential
// WindowHeight, WindowWidth, StrideHeight, StrideWidth  in pixels; they may overlap or leave gaps
// MapHeight, MapWidth, Channels  shape of the incoming frame
// Pipeline      1: a register stage between the comparison along columns and that along rows
// WinnerIndex   1: the row-major index of the winner within its window goes out above the spike

`default_nettype none

// Icarus Verilog 11 has no $fatal outside of procedures; what stops it is a module that is not there.
`ifdef __ICARUS__
`define PARAMETER_ERROR(Module, Text) Module u_error ();
`else
`define PARAMETER_ERROR(Module, Text) $fatal(1, Text);
`endif

module spike_max_pool #(
    parameter integer Width = 16,
    parameter integer WindowHeight = 2,
    parameter integer WindowWidth = 2,
    parameter integer StrideHeight = 2,
    parameter integer StrideWidth = 2,
    parameter integer MapHeight = 28,
    parameter integer MapWidth = 28,
    parameter integer Channels = 1,
    parameter integer Pipeline = 0,
    parameter integer WinnerIndex = 0,
    // derived from the above, not to be set
    parameter integer IndexWidth = (WinnerIndex != 0) ? $clog2(WindowHeight * WindowWidth) : 0,
    parameter integer InWidth = 8 * ((Width + 8) / 8),
    parameter integer OutWidth = 8 * ((IndexWidth + 8) / 8)
) (
    input wire logic clk_i,
    input wire logic rst_ni, // synchronous, active low

    input  wire logic [InWidth-1:0] s_axis_tdata,
    input  wire logic               s_axis_tvalid,
    output logic                    s_axis_tready,
    input  wire logic               s_axis_tlast,
    input  wire logic               s_axis_tuser,

    output logic      [OutWidth-1:0] m_axis_tdata,
    output logic                     m_axis_tvalid,
    input  wire logic                m_axis_tready,
    output logic                     m_axis_tlast,
    output logic                     m_axis_tuser,

    // a mark of the start or the end of a frame was missing or misplaced; stays until reset
    output logic error_o
);

  if (Width < 2 || Width > 64) begin : gen_check_width
    `PARAMETER_ERROR(parameter_error_width, "spike_max_pool: Width must be from 2 to 64")
  end
  if (WindowHeight < 1 || WindowWidth < 1) begin : gen_check_window
    `PARAMETER_ERROR(parameter_error_window,
                     "spike_max_pool: WindowHeight and WindowWidth must be at least 1")
  end
  if (StrideHeight < 1 || StrideWidth < 1) begin : gen_check_stride
    `PARAMETER_ERROR(parameter_error_stride,
                     "spike_max_pool: StrideHeight and StrideWidth must be at least 1")
  end
  if (MapHeight < WindowHeight || MapWidth < WindowWidth) begin : gen_check_map
    `PARAMETER_ERROR(parameter_error_map,
                     "spike_max_pool: MapHeight and MapWidth must hold one window at least")
  end
  if (Channels < 1) begin : gen_check_channels
    `PARAMETER_ERROR(parameter_error_channels, "spike_max_pool: Channels must be at least 1")
  end
  if (Pipeline < 0 || Pipeline > 1 || WinnerIndex < 0 || WinnerIndex > 1) begin : gen_check_flags
    `PARAMETER_ERROR(parameter_error_pipeline_or_winner_index,
                     "spike_max_pool: Pipeline and WinnerIndex must be 0 or 1")
  end

  // windows of an output row, over all channels
  localparam integer Lanes = ((MapWidth - WindowWidth) / StrideWidth + 1) * Channels;
  localparam integer ColumnIndexWidth = (WinnerIndex != 0) ? $clog2(WindowWidth) : 0;

  localparam integer ChannelWidth = (Channels > 1) ? $clog2(Channels) : 1;
  localparam integer LaneWidth = (Lanes > 1) ? $clog2(Lanes) : 1;
  localparam integer RowPhaseWidth = (StrideHeight > 1) ? $clog2(StrideHeight) : 1;
  localparam integer ColumnPhaseWidth = (StrideWidth > 1) ? $clog2(StrideWidth) : 1;
  localparam integer ColumnIndexPort = (ColumnIndexWidth > 0) ? ColumnIndexWidth : 1;
  localparam integer IndexPort = (IndexWidth > 0) ? IndexWidth : 1;

  logic advance;
  logic accept;

  assign accept = s_axis_tvalid && s_axis_tready;
  assign s_axis_tready = advance;

  if (InWidth > Width + 1) begin : gen_padding
    logic unused_padding;
    assign unused_padding = ^s_axis_tdata[InWidth-1:Width+1];
  end

  //////////////
  // Position //
  //////////////

  logic [ChannelWidth-1:0] channel;
  logic [ColumnPhaseWidth-1:0] column_phase;
  logic [RowPhaseWidth-1:0] row_phase;
  logic [LaneWidth-1:0] lane;
  logic column_done, row_done, first_window, last_window;

  spike_max_pool_raster #(
      .WindowHeight(WindowHeight),
      .WindowWidth(WindowWidth),
      .StrideHeight(StrideHeight),
      .StrideWidth(StrideWidth),
      .MapHeight(MapHeight),
      .MapWidth(MapWidth),
      .Channels(Channels)
  ) u_raster (
      .clk_i,
      .rst_ni,
      .accept_i(accept),
      .first_i(s_axis_tuser),
      .last_i(s_axis_tlast),
      .channel_o(channel),
      .column_phase_o(column_phase),
      .row_phase_o(row_phase),
      .lane_o(lane),
      .column_done_o(column_done),
      .row_done_o(row_done),
      .first_window_o(first_window),
      .last_window_o(last_window),
      .error_o
  );

  ///////////////////
  // Along columns //
  ///////////////////

  logic signed [Width-1:0] column_potential;
  logic column_spike;
  logic [ColumnIndexPort-1:0] column_index;

  spike_max_pool_slide #(
      .Window(WindowWidth),
      .Stride(StrideWidth),
      .Lanes(Channels),
      .Width(Width),
      .IndexWidth(ColumnIndexWidth),
      .IndexScale(1)
  ) u_columns (
      .clk_i,
      .valid_i(accept),
      .phase_i(column_phase),
      .lane_i(channel),
      .potential_i(s_axis_tdata[Width-1:0]),
      .spike_i(s_axis_tdata[Width]),
      .index_i({ColumnIndexPort{1'b0}}),
      .potential_o(column_potential),
      .spike_o(column_spike),
      .index_o(column_index)
  );

  ////////////////////
  // Register stage //
  ////////////////////

  logic stage_valid;
  logic signed [Width-1:0] stage_potential;
  logic stage_spike;
  logic [ColumnIndexPort-1:0] stage_index;
  logic [RowPhaseWidth-1:0] stage_phase;
  logic [LaneWidth-1:0] stage_lane;
  logic stage_done, stage_first, stage_last;

  if (Pipeline != 0) begin : gen_stage
    logic valid_q;
    logic signed [Width-1:0] potential_q;
    logic spike_q;
    logic [ColumnIndexPort-1:0] index_q;
    logic [RowPhaseWidth-1:0] phase_q;
    logic [LaneWidth-1:0] lane_q;
    logic done_q, first_q, last_q;

    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        valid_q <= 1'b0;
      end else if (advance) begin
        valid_q <= accept && column_done;
      end
    end

    always_ff @(posedge clk_i) begin
      if (advance) begin
        potential_q <= column_potential;
        spike_q <= column_spike;
        index_q <= column_index;
        phase_q <= row_phase;
        lane_q <= lane;
        done_q <= row_done;
        first_q <= first_window;
        last_q <= last_window;
      end
    end

    assign stage_valid = valid_q;
    assign stage_potential = potential_q;
    assign stage_spike = spike_q;
    assign stage_index = index_q;
    assign stage_phase = phase_q;
    assign stage_lane = lane_q;
    assign stage_done = done_q;
    assign stage_first = first_q;
    assign stage_last = last_q;
  end else begin : gen_no_stage
    assign stage_valid = accept && column_done;
    assign stage_potential = column_potential;
    assign stage_spike = column_spike;
    assign stage_index = column_index;
    assign stage_phase = row_phase;
    assign stage_lane = lane;
    assign stage_done = row_done;
    assign stage_first = first_window;
    assign stage_last = last_window;
  end

  ////////////////
  // Along rows //
  ////////////////

  logic signed [Width-1:0] window_potential;
  logic window_spike;
  logic [IndexPort-1:0] window_index;

  spike_max_pool_slide #(
      .Window(WindowHeight),
      .Stride(StrideHeight),
      .Lanes(Lanes),
      .Width(Width),
      .IndexWidth(IndexWidth),
      .IndexScale(WindowWidth)
  ) u_rows (
      .clk_i,
      .valid_i(stage_valid && advance),
      .phase_i(stage_phase),
      .lane_i(stage_lane),
      .potential_i(stage_potential),
      .spike_i(stage_spike),
      .index_i(IndexPort'(stage_index)),
      .potential_o(window_potential),
      .spike_o(window_spike),
      .index_o(window_index)
  );

  // only the winner's spike and index are wanted
  logic unused_window;
  assign unused_window = ^{window_potential, window_index};

  ////////////
  // Output //
  ////////////

  logic [OutWidth-1:0] word;

  if (IndexWidth > 0) begin : gen_index
    assign word = OutWidth'({window_index, window_spike});
  end else begin : gen_no_index
    assign word = OutWidth'(window_spike);
  end

  spike_max_pool_skid #(
      .Width(OutWidth + 2)
  ) u_skid (
      .clk_i,
      .rst_ni,
      .valid_i(stage_valid && stage_done),
      .ready_o(advance),
      .data_i ({stage_last, stage_first, word}),
      .valid_o(m_axis_tvalid),
      .ready_i(m_axis_tready),
      .data_o ({m_axis_tlast, m_axis_tuser, m_axis_tdata})
  );

endmodule

`undef PARAMETER_ERROR
`default_nettype wire
