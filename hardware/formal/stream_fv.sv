// SPDX-License-Identifier: MIT

// Properties of spike_max_pool as a stream: protocol, marks, number and order of words, and the
// content of one freely chosen word against a running maximum over the raster of one window.
//
// MarksFree  1: marks of frames come as they like, and reset at any time. 0: frames are well
//               formed, and the error must stay down.

`default_nettype none

module stream_fv #(
    parameter integer Width = 3,
    parameter integer WindowHeight = 2,
    parameter integer WindowWidth = 2,
    parameter integer StrideHeight = 2,
    parameter integer StrideWidth = 2,
    parameter integer MapHeight = 2,
    parameter integer MapWidth = 4,
    parameter integer Channels = 1,
    parameter integer Pipeline = 0,
    parameter integer WinnerIndex = 1,
    parameter integer MarksFree = 0,
    parameter integer IndexWidth = (WinnerIndex != 0) ? $clog2(WindowHeight * WindowWidth) : 0,
    parameter integer InWidth = 8 * ((Width + 8) / 8),
    parameter integer OutWidth = 8 * ((IndexWidth + 8) / 8)
) (
    input wire logic               clk_i,
    input wire logic               rst_ni,
    input wire logic [InWidth-1:0] s_tdata,
    input wire logic               s_tvalid,
    input wire logic               s_tlast,
    input wire logic               s_tuser,
    input wire logic               m_tready
);

  localparam integer OutRows = (MapHeight - WindowHeight) / StrideHeight + 1;
  localparam integer OutColumns = (MapWidth - WindowWidth) / StrideWidth + 1;
  // counts of words and of beats, wide enough for the depth of the proofs
  localparam integer CountWidth = 7;

  logic s_tready, m_tvalid, m_tlast, m_tuser, error;
  logic [OutWidth-1:0] m_tdata;

  spike_max_pool #(
      .Width(Width),
      .WindowHeight(WindowHeight),
      .WindowWidth(WindowWidth),
      .StrideHeight(StrideHeight),
      .StrideWidth(StrideWidth),
      .MapHeight(MapHeight),
      .MapWidth(MapWidth),
      .Channels(Channels),
      .Pipeline(Pipeline),
      .WinnerIndex(WinnerIndex)
  ) u_dut (
      .clk_i,
      .rst_ni,
      .s_axis_tdata(s_tdata),
      .s_axis_tvalid(s_tvalid),
      .s_axis_tready(s_tready),
      .s_axis_tlast(s_tlast),
      .s_axis_tuser(s_tuser),
      .m_axis_tdata(m_tdata),
      .m_axis_tvalid(m_tvalid),
      .m_axis_tready(m_tready),
      .m_axis_tlast(m_tlast),
      .m_axis_tuser(m_tuser),
      .error_o(error)
  );

  logic started_q = 1'b0;
  always_ff @(posedge clk_i) started_q <= 1'b1;

  /////////////////
  // Environment //
  /////////////////

  logic [CountWidth-1:0] channel_q, column_q, row_q;
  logic at_start, at_end;
  assign at_start = channel_q == 0 && column_q == 0 && row_q == 0;

  always_comb begin
    // reset comes first
    if (!started_q) assume (!rst_ni);
    if (started_q && MarksFree == 0) assume (rst_ni);
    if (MarksFree == 0) assume (!s_tvalid || (s_tuser == at_start && s_tlast == at_end));
  end

  // AXI4-Stream: no transfer is offered in reset, and an offer stays until it is taken
  logic s_waits_q = 1'b0;
  logic [InWidth+1:0] s_offer_q;
  always_ff @(posedge clk_i) begin
    s_waits_q <= rst_ni && s_tvalid && !s_tready;
    s_offer_q <= {s_tlast, s_tuser, s_tdata};
  end
  always_comb begin
    if (!rst_ni) assume (!s_tvalid);
    if (rst_ni && s_waits_q) assume (s_tvalid && {s_tlast, s_tuser, s_tdata} == s_offer_q);
  end

  //////////////
  // Position //
  //////////////

  logic taken, given;
  assign taken = s_tvalid && s_tready;
  assign given = m_tvalid && m_tready;

  logic [CountWidth-1:0] channel, column, row;
  assign channel = s_tuser ? '0 : channel_q;
  assign column = s_tuser ? '0 : column_q;
  assign row = s_tuser ? '0 : row_q;
  assign at_end = channel == Channels - 1 && column == MapWidth - 1 && row == MapHeight - 1;

  logic error_expected_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      channel_q <= '0;
      column_q <= '0;
      row_q <= '0;
      error_expected_q <= 1'b0;
    end else if (taken) begin
      channel_q <= channel + 1'b1;
      column_q <= column;
      row_q <= row;
      if (channel == Channels - 1) begin
        channel_q <= '0;
        column_q  <= column + 1'b1;
        if (column == MapWidth - 1) begin
          column_q <= '0;
          row_q <= row == MapHeight - 1 ? '0 : row + 1'b1;
        end
      end
      if (s_tuser != at_start || s_tlast != at_end) error_expected_q <= 1'b1;
    end
  end

  ///////////////////////
  // Windows and words //
  ///////////////////////

  // this beat completes a window
  logic completes;
  assign completes = taken && row >= WindowHeight - 1 && column >= WindowWidth - 1 &&
      (row - (WindowHeight - 1)) % StrideHeight == 0 &&
      (column - (WindowWidth - 1)) % StrideWidth == 0;

  logic [CountWidth-1:0] completed_q, words_q, begun_q;
  logic [CountWidth-1:0] due;
  // words that must be at the output by now: completed 1 + Pipeline cycles ago
  logic [CountWidth-1:0] completed_before_q;
  assign due = Pipeline != 0 ? completed_before_q : completed_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      completed_q <= '0;
      completed_before_q <= '0;
      words_q <= '0;
    end else begin
      completed_q <= completed_q + completes;
      // while the block stands still, so does its register stage
      if (s_tready) completed_before_q <= completed_q;
      words_q <= words_q + given;
    end
  end

  //////////////////////////
  // One word, its window //
  //////////////////////////

  (* anyconst *) logic [CountWidth-1:0] out_row, out_column, out_channel;
  // from which frame on to watch; the next complete window of the chosen place is compared
  (* anyseq *) logic watch;

  logic watching_q, done_q;
  logic in_window, first_entry, last_entry;
  logic [CountWidth-1:0] y, x;
  assign y = row - out_row * StrideHeight;
  assign x = column - out_column * StrideWidth;
  assign in_window = channel == out_channel &&
      row >= out_row * StrideHeight && y < WindowHeight &&
      column >= out_column * StrideWidth && x < WindowWidth;
  assign first_entry = in_window && y == 0 && x == 0;
  assign last_entry = in_window && y == WindowHeight - 1 && x == WindowWidth - 1;

  logic signed [Width-1:0] largest_q;
  logic spike_q;
  logic [CountWidth-1:0] index_q;
  logic [CountWidth-1:0] number_q;
  logic replace;
  assign replace = first_entry || $signed(s_tdata[Width-1:0]) > largest_q;

  always_comb assume (out_row < OutRows && out_column < OutColumns && out_channel < Channels);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      watching_q <= 1'b0;
      done_q <= 1'b0;
    end else if (taken && !done_q) begin
      if (s_tuser) watching_q <= first_entry && watch;
      else if (first_entry) watching_q <= watch;
      if (in_window && (first_entry || (watching_q && !s_tuser))) begin
        if (replace) begin
          largest_q <= s_tdata[Width-1:0];
          spike_q   <= s_tdata[Width];
          index_q   <= y * WindowWidth + x;
        end
        if (last_entry && (watching_q || (first_entry && watch))) begin
          done_q   <= 1'b1;
          number_q <= completed_q;
        end
      end
    end
  end

  logic compares;
  assign compares = rst_ni && done_q && given && words_q == number_q;

  ////////////////
  // Properties //
  ////////////////

  logic m_waits_q = 1'b0;
  logic [OutWidth+1:0] m_offer_q;
  logic error_before_q = 1'b0;
  logic reset_before_q = 1'b0;
  logic [1:0] frames_q = '0;
  always_ff @(posedge clk_i) begin
    m_waits_q <= rst_ni && m_tvalid && !m_tready;
    m_offer_q <= {m_tlast, m_tuser, m_tdata};
    error_before_q <= rst_ni && error;
    reset_before_q <= !rst_ni;
    if (!rst_ni) frames_q <= '0;
    else if (given && m_tlast) frames_q <= frames_q + 1'b1;
  end

  always_ff @(posedge clk_i) begin
    if (started_q && rst_ni) begin
      offer_stays : assert (!m_waits_q || (m_tvalid && {m_tlast, m_tuser, m_tdata} == m_offer_q));
      quiet_after_reset : assert (!reset_before_q || (!m_tvalid && !s_tready && !error));
      stops_only_when_full : assert (s_tready || m_tvalid || reset_before_q);
      error_is_sticky : assert (!error_before_q || error);
      error_on_marks : assert (error == error_expected_q);
      no_word_too_many : assert (words_q + m_tvalid <= completed_q);
      no_word_lost : assert (m_tvalid == (words_q != due));
      if (compares) begin
        spike : assert (m_tdata[0] == spike_q);
        if (IndexWidth > 0) winner : assert (m_tdata >> 1 == index_q);
        first : assert (m_tuser == (out_row == 0 && out_column == 0 && out_channel == 0));
        last :
        assert (m_tlast == (out_row == OutRows - 1 && out_column == OutColumns - 1 &&
                            out_channel == Channels - 1));
      end
      if (MarksFree == 0) no_error : assert (!error);
    end
    cover_two_frames : cover (rst_ni && frames_q == 2);
    cover_full_and_compared : cover (compares && !s_tready);
    if (MarksFree != 0) begin
      cover_compared_after_error : cover (compares && error);
    end
  end

endmodule

`default_nettype wire
