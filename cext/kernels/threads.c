/* The persistent worker pool over which kernels run bands of an image. */
typedef int sonod_threads_placeholder;
