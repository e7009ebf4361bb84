/* tsan.h - whether the thread sanitizer watches. */
#ifndef C10M_BASE_TSAN_H
#define C10M_BASE_TSAN_H

#if defined(__SANITIZE_THREAD__)
#define C10M_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define C10M_TSAN 1
#endif
#endif

#endif
