/* tsan.h - what the thread sanitizer must be told about code that it cannot see through.
 *
 * Concurrency Kit orders memory in assembler, which the sanitizer does not read: it would report races
 * in correct rings. TSAN_HANDS_OVER(p) before a ring's enqueue and TSAN_TAKES_OVER(p) after its dequeue
 * say what the ring promises; between TSAN_BLIND_BEGIN and TSAN_BLIND_END nothing is looked at. In
 * other builds all of it is nothing. */
#ifndef C10M_BASE_TSAN_H
#define C10M_BASE_TSAN_H

#if defined(__SANITIZE_THREAD__)
#define C10M_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define C10M_TSAN 1
#endif
#endif

#ifdef C10M_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
#define TSAN_HANDS_OVER(p) __tsan_release(p)
#define TSAN_TAKES_OVER(p) __tsan_acquire(p)
#define TSAN_BLIND_BEGIN() \
	(AnnotateIgnoreReadsBegin(__FILE__, __LINE__), AnnotateIgnoreWritesBegin(__FILE__, __LINE__))
#define TSAN_BLIND_END() \
	(AnnotateIgnoreWritesEnd(__FILE__, __LINE__), AnnotateIgnoreReadsEnd(__FILE__, __LINE__))
#else
#define TSAN_HANDS_OVER(p) ((void)(p))
#define TSAN_TAKES_OVER(p) ((void)(p))
#define TSAN_BLIND_BEGIN() ((void)0)
#define TSAN_BLIND_END()   ((void)0)
#endif

#endif
