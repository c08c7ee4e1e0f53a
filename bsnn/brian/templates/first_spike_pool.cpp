{# USES_VARIABLES { N, t_in_timesteps, passed_window, _spikespace, _source_spikespace,
                    _reached, _first_row_window, _row_windows, _first_column_window,
                    _column_windows } #}
{% extends 'common_group.cpp' %}
{% block maincode %}
    const int32_t _num_spikes = {{_source_spikespace}}[{{_g.source_size}}];
    const int32_t _now = (int32_t)({{t_in_timesteps}} / {{_g.window_steps}});
    uint64_t* const _bits = (uint64_t*){{_reached}};
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
                    _bits[_neuron / 64] |= (uint64_t)1 << (_neuron % 64);
                }
            }
    }
    // a bit for each neuron lists them in the order in which Brian2's own threshold would
    int32_t _count = 0;
    for (int32_t _word = 0; _num_spikes && _word < _num_reached; _word++)
    {
        for (uint64_t _left = _bits[_word]; _left; _left &= _left - 1)
        {
            #ifdef _MSC_VER
            unsigned long _bit;
            _BitScanForward64(&_bit, _left);
            #else
            const int _bit = __builtin_ctzll(_left);
            #endif
            {{_spikespace}}[_count++] = _word * 64 + _bit;
        }
        _bits[_word] = 0;
    }
    {{_spikespace}}[N] = _count;
{% endblock %}

{% block after_code %}
{{_spikespace}}[N] = 0;
{% endblock %}
