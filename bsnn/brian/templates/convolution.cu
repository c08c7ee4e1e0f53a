{# USES_VARIABLES { _eventspace, t_in_timesteps } #}
{% extends 'arriving_spikes.cu' %}
{% block place %}
const int32_t _channel = _position % {{_g.channels}};
const int32_t _y = _position / {{_g.channels * _g.width}} + {{_g.pad_top}};
const int32_t _x = _position / {{_g.channels}} % {{_g.width}} + {{_g.pad_left - (_g.kernel_width - 1) * _g.dilation_x}};
const int32_t _first_weight = _channel * {{_g.taps}};
const int32_t _first_target = _channel / {{_g.group_in}} * {{_g.group_out}} + {{_targets_begin}};
{% endblock %}
{% block tap %}
{# taps are numbered as their weights lie: rows, columns in reverse, output channels #}
const int32_t _from_y = _y - _tap / {{_g.kernel_width * _g.group_out}} * {{_g.dilation_y}};
const int32_t _from_x = _x + _tap / {{_g.group_out}} % {{_g.kernel_width}} * {{_g.dilation_x}};
if (_from_y < 0 || _from_x < 0 || _from_y % {{_g.stride_y}} || _from_x % {{_g.stride_x}}) continue;
const int32_t _out_y = _from_y / {{_g.stride_y}};
const int32_t _out_x = _from_x / {{_g.stride_x}};
if (_out_y >= {{_g.out_height}} || _out_x >= {{_g.out_width}}) continue;
const int32_t _idx = _first_weight + _tap;
const int32_t _postsynaptic_idx = (_out_y * {{_g.out_width}} + _out_x) * {{_g.out_channels}} + _first_target + _tap % {{_g.group_out}};
{% endblock %}
{% block sources %}
const int32_t _out = {{_target_within}} % {{_g.out_channels}};
const int32_t _first_y = (int32_t)({{_target_within}} / {{_g.out_channels * _g.out_width}}) * {{_g.stride_y}} - {{_g.pad_top}};
const int32_t _first_x = (int32_t)({{_target_within}} / {{_g.out_channels}} % {{_g.out_width}}) * {{_g.stride_x}} - {{_g.pad_left}};
for (int32_t _ky = 0; _ky < {{_g.kernel_height}}; _ky++)
{
    const int32_t _y = _first_y + _ky * {{_g.dilation_y}};
    if (_y < 0 || _y >= {{_g.height}}) continue;
    for (int32_t _kx = 0; _kx < {{_g.kernel_width}}; _kx++)
    {
        const int32_t _x = _first_x + _kx * {{_g.dilation_x}};
        if (_x < 0 || _x >= {{_g.width}}) continue;
        for (int32_t _in = 0; _in < {{_g.group_in}}; _in++)
        {
            const int32_t _channel = _out / {{_g.group_out}} * {{_g.group_in}} + _in;
            const int32_t _position = (_y * {{_g.width}} + _x) * {{_g.channels}} + _channel;
            const int32_t _idx = ((_channel * {{_g.kernel_height}} + _ky) * {{_g.kernel_width}} + {{_g.kernel_width - 1}} - _kx) * {{_g.group_out}} + _out % {{_g.group_out}};
            {{ self.deliver()|indent(12) }}
        }
    }
}
{% endblock %}
