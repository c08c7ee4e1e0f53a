{# USES_VARIABLES { _eventspace, t_in_timesteps } #}
{% extends 'arriving_spikes.pyx' %}
{% block declarations %}
    cdef int32_t _channel, _x, _y, _ky, _kx, _from_y, _from_x, _out_y, _out_x, _out
    cdef size_t _first_out, _kernel_row, _tap_weights, _tap_targets
{% endblock %}
{% block reach %}
            _channel = _position % {{_g.channels}}
            _x = _position // {{_g.channels}} % {{_g.width}}
            _y = _position // {{_g.channels * _g.width}}
            _first_out = _channel // {{_g.group_in}} * {{_g.group_out}}
            for _ky in range({{_g.kernel_height}}):
                _from_y = _y + {{_g.pad_top}} - _ky * {{_g.dilation_y}}
                if _from_y < 0 or _from_y % {{_g.stride_y}} != 0:
                    continue
                _out_y = _from_y // {{_g.stride_y}}
                if _out_y >= {{_g.out_height}}:
                    continue
                _kernel_row = (<size_t>_channel * {{_g.kernel_height}} + _ky) * {{_g.kernel_width}}
                for _kx in range({{_g.kernel_width}}):
                    _from_x = _x + {{_g.pad_left}} - _kx * {{_g.dilation_x}}
                    if _from_x < 0 or _from_x % {{_g.stride_x}} != 0:
                        continue
                    _out_x = _from_x // {{_g.stride_x}}
                    if _out_x >= {{_g.out_width}}:
                        continue
                    _tap_weights = (_kernel_row + {{_g.kernel_width - 1}} - _kx) * {{_g.group_out}}
                    _tap_targets = (<size_t>_out_y * {{_g.out_width}} + _out_x) * {{_g.out_channels}} + _first_out + {{_targets_begin}}
                    for _out in range({{_g.group_out}}):
                        _idx = _tap_weights + _out
                        _postsynaptic_idx = _tap_targets + _out
                        _vectorisation_idx = _idx
                        {{vector_code|autoindent}}
{% endblock %}
