// SPDX-License-Identifier: MIT

// Proof about spike_max_pool_winner: a window is folded as spike_max_pool does it, first along
// its columns, then over its rows, with any pauses. One entry of the window is chosen freely;
// what holds for it holds for all. With a threshold common to all entries, and spikes that say
// whether it is reached, the winner's spike is the OR of all spikes.
//
// The assertions on the registers are what makes the induction go through.

`default_nettype none

module window_fv #(
    parameter integer Width = 16,
    parameter integer WindowHeight = 2,
    parameter integer WindowWidth = 2
) (
    input wire logic                    clk_i,
    input wire logic                    valid_i,
    input wire logic signed [Width-1:0] potential_i,
    input wire logic                    spike_i
);

  localparam integer Entries = WindowHeight * WindowWidth;
  localparam integer CountWidth = $clog2(Entries + 1);
  localparam integer PayloadWidth = 1 + CountWidth;

  (* anyconst *) logic [CountWidth-1:0] chosen;
  (* anyconst *) logic signed [Width-1:0] threshold;
  (* anyconst *) logic common_threshold;

  // position of the entry in the window
  logic [CountWidth-1:0] row_q = '0;
  logic [CountWidth-1:0] column_q = '0;
  logic [CountWidth-1:0] position;
  logic row_done, window_done;

  assign position = row_q * WindowWidth + column_q;
  assign row_done = valid_i && column_q == WindowWidth - 1;
  assign window_done = row_done && row_q == WindowHeight - 1;

  always_ff @(posedge clk_i) begin
    if (valid_i) begin
      column_q <= row_done ? '0 : column_q + 1'b1;
      if (row_done) row_q <= window_done ? '0 : row_q + 1'b1;
    end
  end

  // along the columns, then over the rows; payload = {index, spike}
  logic signed [Width-1:0] row_potential_q, row_potential, folded_row_potential;
  logic signed [Width-1:0] window_potential_q, window_potential, folded_window_potential;
  logic [PayloadWidth-1:0] row_payload_q, row_payload, folded_row_payload;
  logic [PayloadWidth-1:0] window_payload_q, window_payload, folded_window_payload;

  spike_max_pool_winner #(
      .Width(Width),
      .PayloadWidth(PayloadWidth)
  ) u_columns (
      .earlier_potential_i(row_potential_q),
      .earlier_payload_i(row_payload_q),
      .later_potential_i(potential_i),
      .later_payload_i({position, spike_i}),
      .potential_o(folded_row_potential),
      .payload_o(folded_row_payload)
  );
  assign row_potential = column_q == '0 ? potential_i : folded_row_potential;
  assign row_payload   = column_q == '0 ? {position, spike_i} : folded_row_payload;

  spike_max_pool_winner #(
      .Width(Width),
      .PayloadWidth(PayloadWidth)
  ) u_rows (
      .earlier_potential_i(window_potential_q),
      .earlier_payload_i(window_payload_q),
      .later_potential_i(row_potential),
      .later_payload_i(row_payload),
      .potential_o(folded_window_potential),
      .payload_o(folded_window_payload)
  );
  assign window_potential = row_q == '0 ? row_potential : folded_window_potential;
  assign window_payload   = row_q == '0 ? row_payload : folded_window_payload;

  always_ff @(posedge clk_i) begin
    if (valid_i) begin
      row_potential_q <= row_potential;
      row_payload_q   <= row_payload;
    end
    if (row_done) begin
      window_potential_q <= window_potential;
      window_payload_q   <= window_payload;
    end
  end

  // the chosen entry, and the OR of the spikes of this row and of the rows before
  logic signed [Width-1:0] chosen_potential_q, chosen_potential;
  logic chosen_spike_q, chosen_spike;
  logic row_or_q = 1'b0;
  logic window_or_q = 1'b0;
  logic row_or, window_or;

  assign chosen_potential = position == chosen ? potential_i : chosen_potential_q;
  assign chosen_spike = position == chosen ? spike_i : chosen_spike_q;
  assign row_or = spike_i || (column_q != '0 && row_or_q);
  assign window_or = row_or || (row_q != '0 && window_or_q);

  always_ff @(posedge clk_i) begin
    if (valid_i) begin
      chosen_potential_q <= chosen_potential;
      chosen_spike_q <= chosen_spike;
      row_or_q <= row_or;
      if (row_done) window_or_q <= window_or;
    end
  end

  always_comb begin
    assume (chosen < Entries);
    if (common_threshold) assume (spike_i == (potential_i >= threshold));
  end

  logic [CountWidth-1:0] row_index, window_index, final_index;
  assign row_index = row_payload_q[PayloadWidth-1:1];
  assign window_index = window_payload_q[PayloadWidth-1:1];
  assign final_index = window_payload[PayloadWidth-1:1];

  always_ff @(posedge clk_i) begin
    // what is proved: the window is complete with the entry of this cycle
    if (window_done) begin
      largest : assert (window_potential >= chosen_potential);
      first_of_equals : assert (chosen >= final_index || chosen_potential < window_potential);
      index_in_window : assert (final_index < Entries);
      winners_potential : assert (chosen != final_index || window_potential == chosen_potential);
      winners_spike : assert (chosen != final_index || window_payload[0] == chosen_spike);
      or_identity : assert (!common_threshold || window_payload[0] == window_or);
      cover_tie : cover (chosen != final_index && chosen_potential == window_potential);
      cover_silent_winner : cover (!window_payload[0] && window_or);
    end

    // what the induction needs: the same for the part of the window that is done
    assert (column_q < WindowWidth && row_q < WindowHeight);
    if (column_q != '0) begin
      assert (row_index >= row_q * WindowWidth && row_index < position);
      if (chosen >= row_q * WindowWidth && chosen < position) begin
        assert (row_potential_q >= chosen_potential_q);
        assert (chosen >= row_index || chosen_potential_q < row_potential_q);
        assert (chosen != row_index || row_potential_q == chosen_potential_q);
        assert (chosen != row_index || row_payload_q[0] == chosen_spike_q);
      end
      if (common_threshold) begin
        assert (row_payload_q[0] == row_or_q);
        assert (row_payload_q[0] == (row_potential_q >= threshold));
      end
    end
    if (row_q != '0) begin
      assert (window_index < row_q * WindowWidth);
      if (chosen < row_q * WindowWidth) begin
        assert (window_potential_q >= chosen_potential_q);
        assert (chosen >= window_index || chosen_potential_q < window_potential_q);
        assert (chosen != window_index || window_potential_q == chosen_potential_q);
        assert (chosen != window_index || window_payload_q[0] == chosen_spike_q);
      end
      if (common_threshold) begin
        assert (window_payload_q[0] == window_or_q);
        assert (window_payload_q[0] == (window_potential_q >= threshold));
      end
    end
  end

endmodule

`default_nettype wire
