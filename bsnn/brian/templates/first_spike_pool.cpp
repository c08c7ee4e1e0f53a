{# USES_VARIABLES { N, t_in_timesteps, passed_window, _spikespace, _source_spikespace,
                    _first_row_window, _row_windows, _first_column_window, _column_windows } #}
{% extends 'common_group.cpp' %}
{% block extra_headers %}
#include <algorithm>
{% endblock %}
{% block maincode %}
    const int32_t _now = (int32_t)({{t_in_timesteps}} / {{_g.window_steps}});
    const int32_t _num_spikes = {{_source_spikespace}}[{{_g.source_size}}];
    int32_t _count = 0;
    for (int32_t _s = 0; _s < _num_spikes; _s++)
    {
        const int32_t _pre = {{_source_spikespace}}[_s];
        const int32_t _c = _pre % {{_g.pooled_channels}};
        const int32_t _x = _pre / {{_g.pooled_channels}} % {{_g.pooled_from_width}};
        const int32_t _y = _pre / {{_g.pooled_channels * _g.pooled_from_width}};
        for (int32_t _r = {{_first_row_window}}[_y]; _r < {{_first_row_window}}[_y + 1]; _r++)
            for (int32_t _q = {{_first_column_window}}[_x]; _q < {{_first_column_window}}[_x + 1]; _q++)
            {
                const int32_t _neuron = ({{_row_windows}}[_r] * {{_g.pooled_width}} + {{_column_windows}}[_q]) * {{_g.pooled_channels}} + _c;
                if ({{passed_window}}[_neuron] != _now)
                {
                    {{passed_window}}[_neuron] = _now;
                    {{_spikespace}}[_count++] = _neuron;
                }
            }
    }
    // in the order in which Brian2's own threshold would list them
    std::sort({{_spikespace}}, {{_spikespace}} + _count);
    {{_spikespace}}[N] = _count;
{% endblock %}

{% block after_code %}
{{_spikespace}}[N] = 0;
{% endblock %}
