{# USES_VARIABLES { _eventspace, t_in_timesteps } #}
{% extends 'arriving_spikes.cpp' %}
{% block reach %}
        {
            const int32_t _channel = _position % {{_g.channels}};
            const int32_t _x = _position / {{_g.channels}} % {{_g.width}};
            const int32_t _y = _position / {{_g.channels * _g.width}};
            {% if _g.group_out != _g.out_channels %}
            const size_t _first_out = _channel / {{_g.group_in}} * {{_g.group_out}};
            {% else %}
            const size_t _first_out = 0;
            {% endif %}
            for (int32_t _ky = 0; _ky < {{_g.kernel_height}}; _ky++)
            {
                const int32_t _from_y = _y + {{_g.pad_top}} - _ky * {{_g.dilation_y}};
                if (_from_y < 0 || _from_y % {{_g.stride_y}}) continue;
                const int32_t _out_y = _from_y / {{_g.stride_y}};
                if (_out_y >= {{_g.out_height}}) continue;
                const size_t _kernel_row = ((size_t)_channel * {{_g.kernel_height}} + _ky) * {{_g.kernel_width}};
                {% if _g.rows_together %}
                // all taps of a row of the kernel at once; columns are kept in reverse
                const int32_t _out_x = _x + {{_g.pad_left - _g.kernel_width + 1}};
                const int32_t _begin = _out_x < 0 ? -_out_x : 0;
                const int32_t _end = std::min({{_g.kernel_width}}, {{_g.out_width}} - _out_x);
                const size_t _tap_weights = _kernel_row * {{_g.group_out}};
                const int64_t _tap_targets = ((int64_t)_out_y * {{_g.out_width}} + _out_x) * {{_g.out_channels}} + {{_targets_begin}};
                for (int32_t _out = _begin * {{_g.group_out}}; _out < _end * {{_g.group_out}}; _out++)
                {
                    const size_t _idx = _tap_weights + _out;
                    const size_t _postsynaptic_idx = _tap_targets + _out;
                    const size_t _vectorisation_idx = _idx;
                    {{vector_code|autoindent}}
                }
                {% else %}
                for (int32_t _kx = 0; _kx < {{_g.kernel_width}}; _kx++)
                {
                    const int32_t _from_x = _x + {{_g.pad_left}} - _kx * {{_g.dilation_x}};
                    if (_from_x < 0 || _from_x % {{_g.stride_x}}) continue;
                    const int32_t _out_x = _from_x / {{_g.stride_x}};
                    if (_out_x >= {{_g.out_width}}) continue;
                    const size_t _tap_weights = (_kernel_row + {{_g.kernel_width - 1}} - _kx) * {{_g.group_out}};
                    const size_t _tap_targets = ((size_t)_out_y * {{_g.out_width}} + _out_x) * {{_g.out_channels}} + _first_out + {{_targets_begin}};
                    for (int32_t _out = 0; _out < {{_g.group_out}}; _out++)
                    {
                        const size_t _idx = _tap_weights + _out;
                        const size_t _postsynaptic_idx = _tap_targets + _out;
                        const size_t _vectorisation_idx = _idx;
                        {{vector_code|autoindent}}
                    }
                }
                {% endif %}
            }
        }
{% endblock %}
