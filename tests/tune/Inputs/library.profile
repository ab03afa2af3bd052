profile: 292.840 ms a step, 605 commands, mean of 2 steps
  kernels           353   175.106 ms  59.8 %, 56.095 at the roofline

command                                      source                n        ms     %   us each    GB/s TFLOP/s  roof
k16_layer_attention_backward_columns         llama3.tt:54         16    40.000  14.3    2500.0      80    20.1  0.02
k7_layer_forward_product                     llama3.tt:61         16    25.368   8.5    1585.5     593   693.5  0.70
gemm bf16->bf16 16384x2048x2048 NNN + C      llama3.tt:69         16     3.689   1.2     230.0     909   596.0  0.60
gemm bf16->bf16 16384x2048x2048 NNN +=       llama3.tt:45         16     3.375   1.1     211.0     994   651.5  0.66
gemm bf16->bf16 2048x8192x16384 TNT          llama3.tt:57         16    12.041   4.1     750.0     490   730.5  0.74
gemm bf16->f32 2048x128256x4096 TNT +=       llama3.tt:74          8    14.340   4.8    3200.0    1470   600.2  0.61
