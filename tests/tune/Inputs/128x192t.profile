command                                      source                n        ms     %   us each    GB/s TFLOP/s  roof
k20_layer_attention_backward_columns         llama3.tt:54         16    40.000  14.3    2750.0      80    20.1  0.02
k9_layer_forward_product                     llama3.tt:61         16    25.368   8.5    1760.0     593   693.5  0.70
k10_layer_matmul                             llama3.tt:69         16     3.689   1.2     220.0     909   596.0  0.60
k11_layer_matmul_1                           llama3.tt:45         16     3.375   1.1     231.0     994   651.5  0.66
k12_layer_matmul_2                           llama3.tt:57         16    12.041   4.1     880.0     490   730.5  0.74
k13_loss_matmul                              llama3.tt:74          8    14.340   4.8    3300.0    1470   600.2  0.61
