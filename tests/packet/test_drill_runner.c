/* test_drill_runner.c - the runner of scripts itself: bad scripts and failed expectations are told of. */
#include <stdio.h>
#include <string.h>

#include "drill.h"
#include "harness.h"

#define OPEN \
	"0 socket(..., SOCK_STREAM, 0) = 3\n" \
	"+0 bind(3, ..., ...) = 0\n" \
	"+0 listen(3, 1) = 0\n" \
	"+0 < S 0:0(0) win 1000 <mss 1000>\n" \
	"+0 > S. 0:0(0) ack 1 <mss 1460>\n" \
	"+.1 < . 1:1(0) ack 1 win 65535\n" \
	"+0 accept(3, ..., ...) = 4\n"

/* Ten bytes are under way. */
#define WRITTEN OPEN "+0 write(4, ..., 10) = 10\n"

static struct drill_script script;

/* Runs it; what is wrong must begin with `where`, and hold both texts. */
static void wrong(const char *text, const char *where, const char *what, const char *more)
{
	char place[64];
	bool good = drill_parse(&script, "here.pkt", text, NULL) && drill_run(&script);

	if (good)
		fail_msg("nothing was found to be wrong with: %s", text);
	snprintf(place, sizeof(place), "here.pkt:%s: ", where);
	if (strncmp(script.failure, place, strlen(place)) != 0 || !strstr(script.failure, what) ||
	    !strstr(script.failure, more))
		fail_msg("'%s' is told of as: %s", what, script.failure);
}

static void good(const char *text)
{
	if (!drill_parse(&script, "here.pkt", text, NULL) || !drill_run(&script))
		fail_msg("%s", script.failure);
}

static void scripts_that_cannot_be_read(void **state)
{
	(void)state;
	wrong("0 socket(..., SOCK_STREAM, 0) = 3\n  +x listen(3, 1) = 0\n", "2:4", "a time in seconds", "");
	wrong("0 < Q 0:0(0)\n", "1:5", "unknown flag 'Q'", "");
	wrong("0 < S 0:5(0)\n", "1:13", "not 0 bytes", "");
	wrong("0 < S 0:0(0) win 5 <mss 10,what>\n", "1:28", "unknown option", "");
	wrong("0 < S 0:0(0) <mss 70000000000>\n", "1:30", "0 to 4294967295", "");
	wrong("0 < [odd] S 0:0(0)\n", "1:6", "unknown mark", "");
	wrong("0 listen(3, SOMETHING) = 0\n", "1:22", "'SOMETHING'", "not known");
	wrong("0 listen(3, 1) = -1 EWHAT\n", "1:26", "'EWHAT'", "");
	wrong("0 listen(3, 1\n", "2:1", "')' was expected", "");
	wrong("/* never ends", "1:1", "no end", "");
	wrong("`sysctl -q x=1`\n", "1:1", "not run here", "");
	wrong("0 > icmp unreachable frag_needed mtu 1 [1:1(0)]\n", "1:9", "only come in", "");
	wrong("0...1 < S 0:0(0)\n", "1:1", "only a system call can last", "");
	wrong("1~2 < S 0:0(0)\n", "1:1", "only for packets that go out", "");
	wrong("2~1 > S 0:0(0)\n", "1:4", "before its start", "");
	wrong("0 %{ assert x == 1 }%\n", "1:14", "only fields of TCP_INFO", "");
	wrong("--nonsense=1\n", "1:3", "unknown setting 'nonsense'", "");
}

static void expectations_that_fail(void **state)
{
	(void)state;
	wrong(OPEN "+0 > . 1:1(0) ack 1\n", "8:1", "nothing came out", "expected: > . 1:1(0) ack 1");
	wrong(WRITTEN "+0 > P. 1:11(10) ack 2\n", "9:1", "acknowledgement number",
	      "came out: 0.100000 > P. 1:11(10) ack 1");
	wrong(WRITTEN "+0 > . 1:11(10) ack 1\n", "9:1", "flags", "> P. 1:11(10)");
	wrong(WRITTEN "+0 > P. 1:10(9) ack 1\n", "9:1", "length", "> P. 1:11(10)");
	wrong(WRITTEN "+0 > P. 1:11(10) ack 1 win 5\n", "9:1", "window", "win 65535");
	wrong(WRITTEN "+0 > P. 1:11(10) ack 1 <nop,nop>\n", "9:1", "options", "");
	wrong(WRITTEN "+0 > [ect0] P. 1:11(10) ack 1\n", "9:1", "ECN mark", "");
	wrong(WRITTEN "+.5 > P. 1:11(10) ack 1\n", "9:1", "at another time", "0.600000");
	wrong(WRITTEN "", "8:1", "nobody expected", "P. 1:11(10)");
	wrong(OPEN "+0 write(4, ..., 10) = 11\n", "8:1", "write gave 10", "");
	wrong(OPEN "+0 read(4, ..., 10) = 11\n", "8:1", "read waits", "");
	wrong(OPEN "+0...0.1 read(4, ..., 10) = 1\n", "8:1", "waits still", "");
	wrong(OPEN "+0...0.1 read(4, ..., 10) = 10\n+.05 < . 1:11(10) ack 1 win 9\n", "8:1", "was over after",
	      "expected after 0.1");
	wrong(OPEN "+0 close(5) = 0\n", "8:1", "close gave -1", "Bad file descriptor");
	wrong(OPEN "+0 getsockopt(4, SOL_SOCKET, SO_ERROR, [5], [4]) = 0\n", "8:1", "gave 0, expected 5", "");
	wrong(OPEN "+0 %{ assert tcpi_snd_cwnd == 11, x }%\n", "8:1", "tcpi_snd_cwnd is 10, expected == 11",
	      "");
	wrong(OPEN "+0 %{ assert tcpi_no == 11 }%\n", "8:1", "nobody knows", "");
	wrong(OPEN "+0 poll([{fd=4, events=POLLOUT, revents=POLLIN}], 1, 0) = 1\n", "8:1", "revents of", "");
	wrong(OPEN "+0 fork() = 1\n", "8:1", "no system call 'fork'", "");
	wrong(OPEN "0 close(4) = 0\n", "8:1", "is over", "");
}

static void scripts_that_are_right(void **state)
{
	(void)state;
	good("--no_sack # a comment\n/* and\n one */ // one more\n" OPEN);
	good(WRITTEN "* > P. 1:11(10) ack 1\n");
	good(WRITTEN "+0~+1 > P. 1:11(10) ack 1 <...>\n");
	good(OPEN "+0...0.1 read(4, ..., 10) = 10\n+.1 < . 1:11(10) ack 1 win 900\n* > . 1:1(0) ack 11\n");
	good(OPEN "+0 read(9, ..., 10) = -1 EBADF (Bad file descriptor)\n+0 write(4, ..., 1) = ?\n* > P. "
		  "1:2(1) ack "
		  "1\n");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(scripts_that_cannot_be_read),
		TEST(expectations_that_fail),
		TEST(scripts_that_are_right),
	};

	if (!harness_arguments(argc, argv))
		return 2;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
