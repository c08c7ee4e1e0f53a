{# What happens for each spike that arrives stands in the block reach. It finds the neuron of the
   source in _presynaptic_idx, the place in its (pooled) map in _position, and the share of the
   spike that an average pooling passes on in _pool_share. Where the targets of the spike's image
   begin, _targets_begin says. #}
{% extends 'common_group.cpp' %}

{# in a batch, images lie one after another: a division a spike tells its image #}
{% set _within = '_within' if _g.batch > 1 else '_pre' %}
{% set _positions_before = ' + _image * %d' % _g.image_positions if _g.batch > 1 else '' %}
{% set _targets_begin = '_targets_begin' if _g.batch > 1 else _g.target_start %}

{% block extra_headers %}
#include <algorithm>
{% endblock %}

{% block maincode %}
    {% if _g.delay_steps %}
    // the spikes of this step wait in a row of the ring, those of {{_g.delay_steps}} steps ago arrive
    {
        int32_t* _row = {{_waiting_spikes}} + (size_t){{_waiting_row}} * {{_g.source_size + 1}};
        int32_t _waiting = 0;
        for (int32_t _s = 0; _s < {{_eventspace}}[{{_g.eventspace_size - 1}}]; _s++)
        {
            const int32_t _spike = {{_eventspace}}[_s];
            if (_spike >= {{_g.source_start}} && _spike < {{_g.source_start + _g.source_size}})
                _row[_waiting++] = _spike;
        }
        _row[{{_g.source_size}}] = _waiting;
        {{_waiting_row}} = ({{_waiting_row}} + 1) % {{_g.delay_steps + 1}};
    }
    const int32_t* const _spikes = {{_waiting_spikes}} + (size_t){{_waiting_row}} * {{_g.source_size + 1}};
    const int32_t _num_spikes = _spikes[{{_g.source_size}}];
    {% else %}
    const int32_t* const _spikes = {{_eventspace}};
    const int32_t _num_spikes = {{_eventspace}}[{{_g.eventspace_size - 1}}];
    {% endif %}

    if (_num_spikes)
    {
    // scalar code
    const size_t _vectorisation_idx = -1;
    {{scalar_code|autoindent}}

    {% if _g.pooling == 'max' %}
    // a window passes one spike in a step, however many of its neurons spike
    int32_t _num_windows = 0;
    const int32_t _now = (int32_t){{t_in_timesteps}};
    for (int32_t _s = 0; _s < _num_spikes; _s++)
    {
        const int32_t _pre = _spikes[_s] - {{_g.source_start}};
        if (_pre < 0 || _pre >= {{_g.source_size}}) continue;
        {% if _g.batch > 1 %}
        const int32_t _image = _pre / {{_g.image_size}};
        const int32_t _within = _pre - _image * {{_g.image_size}};
        {% endif %}
        const int32_t _c = {{_within}} % {{_g.pooled_channels}};
        const int32_t _place = {{_within}} / {{_g.pooled_channels}};
        for (int32_t _k = {{_first_window}}[_place]; _k < {{_first_window}}[_place + 1]; _k++)
        {
            const int32_t _window = {{_windows}}[_k] * {{_g.pooled_channels}} + _c{{_positions_before}};
            if ({{_window_passed}}[_window] != _now)
            {
                {{_window_passed}}[_window] = _now;
                {{_window_spikes}}[_num_windows++] = _window;
            }
        }
    }
    std::sort({{_window_spikes}}, {{_window_spikes}} + _num_windows);
    for (int32_t _s = 0; _s < _num_windows; _s++)
    {
        const size_t _presynaptic_idx = 0;
        {% if _g.batch > 1 %}
        const int32_t _image = {{_window_spikes}}[_s] / {{_g.image_positions}};
        const int32_t _position = {{_window_spikes}}[_s] - _image * {{_g.image_positions}};
        const int32_t _targets_begin = {{_g.target_start}} + _image * {{_g.image_targets}};
        {% else %}
        const int32_t _position = {{_window_spikes}}[_s];
        {% endif %}
        {{ self.reach() }}
    }
    {% else %}
    for (int32_t _s = 0; _s < _num_spikes; _s++)
    {
        const size_t _presynaptic_idx = _spikes[_s];
        const int32_t _pre = _spikes[_s] - {{_g.source_start}};
        if (_pre < 0 || _pre >= {{_g.source_size}}) continue;
        {% if _g.batch > 1 %}
        const int32_t _image = _pre / {{_g.image_size}};
        const int32_t _within = _pre - _image * {{_g.image_size}};
        {% endif %}
        {% if _g.batch > 1 %}
        const int32_t _targets_begin = {{_g.target_start}} + _image * {{_g.image_targets}};
        {% endif %}
        {% if _g.pooling == 'average' %}
        const int32_t _c = {{_within}} % {{_g.pooled_channels}};
        const int32_t _place = {{_within}} / {{_g.pooled_channels}};
        for (int32_t _k = {{_first_window}}[_place]; _k < {{_first_window}}[_place + 1]; _k++)
        {
            const int32_t _window = {{_windows}}[_k];
            const int32_t _position = _window * {{_g.pooled_channels}} + _c;
            const {{c_data_type(_g.weight_type)}} _pool_share = {{_window_share}}[_window];
            {{ self.reach() }}
        }
        {% else %}
        const int32_t _position = {{_within}};
        {{ self.reach() }}
        {% endif %}
    }
    {% endif %}
    }
    {% if false %}
    {% block reach %}
    {% endblock %}
    {% endif %}
{% endblock %}
