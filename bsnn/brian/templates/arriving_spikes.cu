{# What each spike that arrives does to its targets. A child says in three blocks which these are:

   place   what all taps of the position _position of the (pooled) source have in common.
   tap     one of its _g.taps pairs of weight and target: _tap is its number, _idx and
           _postsynaptic_idx are to be set; continue if it lies outside the map.
   sources all positions that reach the target _target, in the order of the source, with the block
           deliver for each; _position, _idx are to be set.

   Threads either scatter or gather (_g.gathers):

   scatter _g.spike_threads threads of a block take a spike, and each of them some of its taps; the
           blocks stride over the spikes, whatever their number, which is read on the device: the host
           does not wait for it. Many taps are dealt out to several rows of blocks (blockIdx.y).
           Neighbouring threads take neighbouring output channels, so that they read and write side by
           side. Several spikes may reach a target at once: Brian2CUDA's generator writes += and -= as
           _brian_atomicAdd and *= as _brian_atomicMul. (Other operations never come here; its
           _brian_atomicDiv divides the operand by the variable.)
   gather  A thread takes a target and looks for spikes among all its possible sources, in their
           order, which is that of the other targets. No atomic operation touches the target.

   In a batch, images lie one after another in source and target: the blocks tap and sources see
   those of one image. _image is its number, and its targets begin at _targets_begin; sources finds
   in _within which of them _target is.

   It has to run after the thresholds of its step: earlier, the list of spikes is the last step's only
   as long as no brian2.Synapses with a delay makes Brian2CUDA use several lists in turn.

   Atomic operations on the lists, in either way: the place of a spike in the ring of those that
   wait, and, with max-pooling, which of the spikes of a window is the first (atomicExch) and its
   place in the list (both for scattering only). #}
{% extends 'common_group.cu' %}

{% set _device_spikes = 'dev' ~ get_array_name(variables['_eventspace'], access_data=False) ~ '[current_idx' ~ get_array_name(variables['_eventspace'], access_data=False) ~ ']' %}
{% set _timestep = get_array_name(variables['t_in_timesteps'], access_data=False) ~ '[0]' %}
{% set _within = '_within' if _g.batch > 1 else '_pre' %}
{% set _target_within = '_within' if _g.batch > 1 else '_target' %}
{% set _neurons_before = ' + _image * %d' % _g.image_size if _g.batch > 1 else '' %}
{% set _positions_before = ' + _image * %d' % _g.image_positions if _g.batch > 1 else '' %}
{% set _targets_begin = '_targets_begin' if _g.batch > 1 else _g.target_start %}
{# of overlapping windows there may be more than there are neurons #}
{% set _most_spikes = [_g.source_size, _g.windows] | max if _g.pooling == 'max' else _g.source_size %}
{% set _block_spikes = 256 // _g.spike_threads %}
{# taps of a spike that a row of blocks takes #}
{% set _row_taps = _g.spike_threads * 4 %}
{% set _rows = (_g.taps + _row_taps - 1) // _row_taps %}
{% set _work = (_g.targets + 255) // 256 if _g.gathers else (_most_spikes + _block_spikes - 1) // _block_spikes %}

{% block kernel %}
{% if not _g.gathers and not uses_atomics %}
#error "{{owner.name}}: on_pre was not translated to atomic operations; make it with deterministic=True"
{% endif %}
{% if _g.delay_steps %}
// the spikes of this step wait in a row of the ring, which ends with their number
__global__ void _wait_{{codeobj_name}}(const int32_t* _events, int32_t* _row)
{
    const int32_t _num_events = _events[{{_g.eventspace_size - 1}}];
    for (int32_t _s = blockIdx.x * blockDim.x + threadIdx.x; _s < _num_events; _s += gridDim.x * blockDim.x)
    {
        const int32_t _spike = _events[_s];
        if (_spike >= {{_g.source_start}} && _spike < {{_g.source_start + _g.source_size}})
            _row[atomicAdd(&_row[{{_g.source_size}}], 1)] = _spike;
    }
}
{% endif %}

{% if _g.pooling == 'max' or _g.gathers %}
// {% if _g.pooling == 'max' %}which windows pass a spike{% else %}which neurons spike{% endif %} in this step
__global__ void _mark_{{codeobj_name}}(
    const int32_t* _spikes,
    const int32_t* _spike_count,
    %KERNEL_PARAMETERS%
    )
{
    using namespace brian;
    %KERNEL_CONSTANTS%
    {{kernel_lines|autoindent}}
    const int32_t _num_spikes = *_spike_count;
    const int32_t _now = (int32_t){{t_in_timesteps}};
    for (int32_t _s = blockIdx.x * blockDim.x + threadIdx.x; _s < _num_spikes; _s += gridDim.x * blockDim.x)
    {
        const int32_t _pre = _spikes[_s] - {{_g.source_start}};
        if (_pre < 0 || _pre >= {{_g.source_size}}) continue;
        {% if _g.pooling == 'max' %}
        {% if _g.batch > 1 %}
        const int32_t _image = _pre / {{_g.image_size}};
        const int32_t _within = _pre - _image * {{_g.image_size}};
        {% endif %}
        const int32_t _c = {{_within}} % {{_g.pooled_channels}};
        const int32_t _place = {{_within}} / {{_g.pooled_channels}};
        for (int32_t _k = {{_first_window}}[_place]; _k < {{_first_window}}[_place + 1]; _k++)
        {
            const int32_t _window = {{_windows}}[_k] * {{_g.pooled_channels}} + _c{{_positions_before}};
            {% if _g.gathers %}
            // all threads that come here write the same
            {{_window_passed}}[_window] = _now;
            {% else %}
            if (atomicExch(&{{_window_passed}}[_window], _now) != _now)
                {{_window_spikes}}[atomicAdd(&{{_window_spikes}}[{{_g.windows}}], 1)] = _window;
            {% endif %}
        }
        {% else %}
        {{_step_of_spike}}[_pre] = _now + 1;
        {% endif %}
    }
}
{% endif %}

__global__ void _run_kernel_{{codeobj_name}}(
    const int32_t* _spikes,
    const int32_t* _spike_count,
    ///// KERNEL_PARAMETERS /////
    %KERNEL_PARAMETERS%
    )
{
    using namespace brian;

    ///// KERNEL_CONSTANTS /////
    %KERNEL_CONSTANTS%

    ///// kernel_lines /////
    {{kernel_lines|autoindent}}

    const int32_t _num_spikes = *_spike_count;
    if (_num_spikes == 0) return;

    ///// scalar_code /////
    const int _vectorisation_idx = -1;
    {{scalar_code|autoindent}}

    {% if _g.gathers %}
    const int32_t _now = (int32_t){{t_in_timesteps}};
    for (uint32_t _target = blockIdx.x * blockDim.x + threadIdx.x; _target < {{_g.targets}}; _target += gridDim.x * blockDim.x)
    {
        const int32_t _postsynaptic_idx = {{_g.target_start}} + (int32_t)_target;
        {% if _g.batch > 1 %}
        const int32_t _image = _target / {{_g.image_targets}};
        const uint32_t _within = _target % {{_g.image_targets}};
        {% endif %}
        {{ self.sources()|indent(8) }}
    }
    {% else %}
    for (int32_t _s = blockIdx.x * {{_block_spikes}} + threadIdx.x / {{_g.spike_threads}}; _s < _num_spikes; _s += gridDim.x * {{_block_spikes}})
    {
        {% if _g.pooling == 'max' %}
        const int32_t _presynaptic_idx = 0;
        {% if _g.batch > 1 %}
        const int32_t _image = _spikes[_s] / {{_g.image_positions}};
        const int32_t _position = _spikes[_s] - _image * {{_g.image_positions}};
        {% else %}
        const int32_t _position = _spikes[_s];
        {% endif %}
        {% else %}
        const int32_t _presynaptic_idx = _spikes[_s];
        const int32_t _pre = _presynaptic_idx - {{_g.source_start}};
        if (_pre < 0 || _pre >= {{_g.source_size}}) continue;
        {% if _g.batch > 1 %}
        const int32_t _image = _pre / {{_g.image_size}};
        const int32_t _within = _pre - _image * {{_g.image_size}};
        {% endif %}
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
            {{ self.taps()|indent(12) }}
        }
        {% else %}
        {% if _g.pooling == 'none' %}
        const int32_t _position = {{_within}};
        {% endif %}
        {{ self.taps()|indent(8) }}
        {% endif %}
    }
    {% endif %}
}
{% endblock kernel %}

{% block taps %}
{{ self.place() }}
for (int32_t _tap = {% if _rows > 1 %}blockIdx.y * {{_row_taps}} + {% endif %}threadIdx.x % {{_g.spike_threads}}; _tap < {% if _rows > 1 %}min({{_g.taps}}, (int32_t)(blockIdx.y + 1) * {{_row_taps}}){% else %}{{_g.taps}}{% endif %}; _tap += {{_g.spike_threads}})
{
    {{ self.tap()|indent(4) }}
    const int _vectorisation_idx = _idx;
    {{vector_code|autoindent}}
}
{% endblock %}
{% block place %}
{% endblock %}
{% block tap %}
{% endblock %}
{% block sources %}
{% endblock %}
{% block deliver %}
{% if _g.pooling == 'average' %}
const int32_t _window = _position / {{_g.pooled_channels}};
const {{c_data_type(_g.weight_type)}} _pool_share = {{_window_share}}[_window];
for (int32_t _r = 0; _r < {{_g.row_elements}}; _r++)
{
    const int32_t _py = {{_row_elements}}[_window / {{_g.pooled_width}} * {{_g.row_elements}} + _r];
    if (_py < 0) continue;
    for (int32_t _q = 0; _q < {{_g.column_elements}}; _q++)
    {
        const int32_t _px = {{_column_elements}}[_window % {{_g.pooled_width}} * {{_g.column_elements}} + _q];
        if (_px < 0) continue;
        const int32_t _pre = (_py * {{_g.pooled_from_width}} + _px) * {{_g.pooled_channels}} + _position % {{_g.pooled_channels}}{{_neurons_before}};
        if ({{_step_of_spike}}[_pre] != _now + 1) continue;
        const int32_t _presynaptic_idx = {{_g.source_start}} + _pre;
        const int _vectorisation_idx = _idx;
        {{vector_code|autoindent}}
    }
}
{% else %}
{% if _g.pooling == 'max' %}
if ({{_window_passed}}[_position{{_positions_before}}] != _now) continue;
const int32_t _presynaptic_idx = 0;
{% else %}
if ({{_step_of_spike}}[_position{{_positions_before}}] != _now + 1) continue;
const int32_t _presynaptic_idx = {{_g.source_start}} + _position{{_positions_before}};
{% endif %}
const int _vectorisation_idx = _idx;
{{vector_code|autoindent}}
{% endif %}
{% endblock %}

{# there is not a thread for each of something #}
{% block define_N %}
{% endblock %}

{% block prepare_kernel_inner %}
num_threads = 256;
// as many blocks as run at a time, which stride over the work, and no more than there is work for
int _blocks_per_multiprocessor;
CUDA_SAFE_CALL(
    cudaOccupancyMaxActiveBlocksPerMultiprocessor(
        &_blocks_per_multiprocessor, _run_kernel_{{codeobj_name}}, num_threads, 0)
    );
num_blocks = _blocks_per_multiprocessor * num_parallel_blocks;
if (num_blocks > {{_work}}) num_blocks = {{_work}};
{% endblock %}

{% block kernel_call %}
    {% if _g.delay_steps %}
    {% set ring = 'dev' ~ get_array_name(variables['_waiting_spikes'], access_data=False) %}
    // the spikes of {{_g.delay_steps}} steps ago arrive
    int32_t* const _row = {{ring}} + ({{_timestep}} % {{_g.delay_steps + 1}}) * {{_g.source_size + 1}};
    CUDA_SAFE_CALL(
        cudaMemsetAsync(&_row[{{_g.source_size}}], 0, sizeof(int32_t))
        );
    _wait_{{codeobj_name}}<<<8 * num_parallel_blocks, 256>>>({{_device_spikes}}, _row);
    CUDA_CHECK_ERROR("_wait_{{codeobj_name}}");
    const int32_t* _spikes = {{ring}} + (({{_timestep}} + 1) % {{_g.delay_steps + 1}}) * {{_g.source_size + 1}};
    const int32_t* _spike_count = &_spikes[{{_g.source_size}}];
    {% else %}
    const int32_t* _spikes = {{_device_spikes}};
    const int32_t* _spike_count = &_spikes[{{_g.eventspace_size - 1}}];
    {% endif %}

    {% if _g.pooling == 'max' and not _g.gathers %}
    {% set window_spikes = 'dev' ~ get_array_name(variables['_window_spikes'], access_data=False) %}
    CUDA_SAFE_CALL(
        cudaMemsetAsync(&{{window_spikes}}[{{_g.windows}}], 0, sizeof(int32_t))
        );
    {% endif %}
    {% if _g.pooling == 'max' or _g.gathers %}
    _mark_{{codeobj_name}}<<<8 * num_parallel_blocks, 256>>>(
            _spikes,
            _spike_count,
            %HOST_PARAMETERS%
        );
    CUDA_CHECK_ERROR("_mark_{{codeobj_name}}");
    {% endif %}
    {% if _g.pooling == 'max' and not _g.gathers %}
    _spikes = {{window_spikes}};
    _spike_count = &_spikes[{{_g.windows}}];
    {% endif %}

    _run_kernel_{{codeobj_name}}<<<{{'num_blocks' if _g.gathers or _rows == 1 else 'dim3(num_blocks, %d)' % _rows}}, num_threads>>>(
            _spikes,
            _spike_count,
            ///// HOST_PARAMETERS /////
            %HOST_PARAMETERS%
        );
    CUDA_CHECK_ERROR("_run_kernel_{{codeobj_name}}");
{% endblock kernel_call %}
