{# USES_VARIABLES { N, t_in_timesteps, _start_step, passed_window, _spikespace, _source_spikespace,
                    _reached, _first_window, _windows } #}
{% extends 'common_group.cpp' %}
{# in a batch, images lie one after another: a division a spike tells its image #}
{% set _within = '_within' if _g.batch > 1 else '_pre' %}
{% set _windows_before = ' + _image * %d' % _g.image_windows if _g.batch > 1 else '' %}
{% block maincode %}
    const int32_t _num_spikes = {{_source_spikespace}}[{{_g.source_size}}];
    // the step in which this window has begun
    const int32_t _now = (int32_t)({{t_in_timesteps}} - ({{t_in_timesteps}} - {{_start_step}}) % {{_g.window_steps}});
    uint64_t* const _bits = (uint64_t*){{_reached}};
    for (int32_t _s = 0; _s < _num_spikes; _s++)
    {
        const int32_t _pre = {{_source_spikespace}}[_s];
        {% if _g.batch > 1 %}
        const int32_t _image = _pre / {{_g.image_size}};
        const int32_t _within = _pre - _image * {{_g.image_size}};
        {% endif %}
        const int32_t _c = {{_within}} % {{_g.pooled_channels}};
        const int32_t _place = {{_within}} / {{_g.pooled_channels}};
        for (int32_t _k = {{_first_window}}[_place]; _k < {{_first_window}}[_place + 1]; _k++)
        {
            const int32_t _neuron = {{_windows}}[_k] * {{_g.pooled_channels}} + _c{{_windows_before}};
            const uint64_t _passes = {{passed_window}}[_neuron] != _now;
            {{passed_window}}[_neuron] = _now;
            _bits[_neuron / 64] |= _passes << (_neuron % 64);
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
