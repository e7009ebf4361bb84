/* test_fastopen.c - data in the SYN, as a server and as a client (RFC 7413). */
#include "harness.h"

#include "stack/internal.h"

/* --- the server */

static struct test *begin_server(void)
{
	struct test *t = test_begin();

	t->services[0].fastopen_pending = 2;
	return t;
}

/* The peer asks for a cookie with a connection that it ends again. */
static void get_cookie(struct test *t, unsigned slot)
{
	inject(t, "S seq 0 win 60000 mss 1460 fo 0");
	expect(t, "S. seq 0 ack 1 mss 1460 fo 8");
	inject(t, ". seq 1 ack 1");
	discard_events(t);
	inject(t, "R seq 1");
	discard_events(t);
	assert_true(t->slots[slot].closed);
	t->peer->irs_known = false;
	t->peer->iss += 100000;
	t->peer->snd_nxt = t->peer->rcv_nxt = 0;
}

static void answer_at_once(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	uint8_t data[3000];

	if (strcmp(event, "data") != 0)
		return;
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = stream_byte(t->slots[slot].tx_bytes + i);
	t->slots[slot].tx_bytes += c10m_send(conn, data, sizeof(data));
}

static void cookie_is_granted_to_who_asks(void **state)
{
	struct test *t = begin_server();

	(void)state;
	test_start(t);
	get_cookie(t, 0);
	assert_int_equal(counted(t, tcp_fastopen_accepted), 0);
	test_finish(t);
}

/* The point of it: the answer leaves before the handshake is complete. */
static void data_in_the_syn_is_answered_at_once(void **state)
{
	struct test *t = begin_server();

	(void)state;
	test_start(t);
	get_cookie(t, 0);
	t->app.hook = answer_at_once;
	inject(t, "S seq 0 win 60000 mss 1460 len 500 fo 8");
	expect_event(t, "open#1");
	expect_event(t, "data 500#1");
	expect(t, "S. seq 0 ack 501 mss 1460 fo 8");
	expect(t, ". seq 1 ack 501 len 1460");
	expect(t, ". seq 1461 ack 501 len 1460");
	stack_verify(t->stack);
	mark(t);
	inject(t, ". seq 501 ack 1"); /* the SYN-ACK alone */
	assert_int_equal(counted(t, tcp_established), 1);
	inject(t, ". seq 501 ack 2921");
	expect(t, "P. seq 2921 ack 501 len 80");
	inject(t, ". seq 501 ack 3001");
	inject(t, "P. seq 501 ack 3001 len 10");
	expect_event(t, "data 10#1");
	discard_out(t);
	test_finish(t);
}

/* What acknowledges our data acknowledges the SYN-ACK before it. */
static void data_is_acknowledged_with_the_syn_ack(void **state)
{
	struct test *t = begin_server();

	(void)state;
	test_start(t);
	get_cookie(t, 0);
	t->app.hook = answer_at_once;
	inject(t, "S seq 0 win 60000 mss 1460 len 500 fo 8");
	discard_events(t);
	expect(t, "S. seq 0 ack 501 mss 1460 fo 8");
	discard_out(t);
	inject(t, ". seq 501 ack 2921");
	expect(t, "P. seq 2921 ack 501 len 80");
	inject(t, ". seq 501 ack 3001");
	pass_ms(t, 5000);
	expect_nothing(t);
	test_finish(t);
}

/* A SYN-ACK that is lost goes again, and with it what was behind it. */
static void lost_answer_goes_again(void **state)
{
	struct test *t = begin_server();

	(void)state;
	test_start(t);
	get_cookie(t, 0);
	t->app.hook = answer_at_once;
	inject(t, "S seq 0 win 60000 mss 1460 len 500 fo 8");
	discard_events(t);
	discard_out(t);
	expect_after(t, 1000, "S. seq 0 ack 501 mss 1460 fo 8");
	inject(t, "S seq 0 win 60000 mss 1460"); /* so does the peer's SYN, without data */
	expect(t, "S. seq 0 ack 501 mss 1460 fo 8");
	inject(t, ". seq 501 ack 1");
	expect(t, ". seq 1 ack 501 len 1460");
	discard_out(t);
	inject(t, ". seq 501 ack 2921");
	expect(t, "P. seq 2921 ack 501 len 80");
	inject(t, ". seq 501 ack 3001");
	assert_int_equal(t->slots[1].rx_bytes, 500);
	expect_no_event(t);
	test_finish(t);
}

/* One segment at a time at first: the SYN-ACK was lost (RFC 5681 section 3.1). */
static void lost_answer_closes_the_window(void **state)
{
	struct test *t = begin_server();

	(void)state;
	test_start(t);
	get_cookie(t, 0);
	inject(t, "S seq 0 win 60000 mss 1460 len 500 fo 8");
	discard_events(t);
	discard_out(t);
	expect_after(t, 1000, "S. seq 0 ack 501 mss 1460 fo 8");
	inject(t, ". seq 501 ack 1");
	app_send(t, 1, 4380);
	expect(t, ". seq 1 ack 501 len 1460");
	expect_nothing(t);
	inject(t, ". seq 501 ack 1461");
	expect(t, ". seq 1461 ack 501 len 1460");
	expect(t, "P. seq 2921 ack 501 len 1460");
	inject(t, ". seq 501 ack 4381");
	test_finish(t);
}

static void user_timeout_goes_with_the_answer(void **state)
{
	struct test *t = begin_server();

	(void)state;
	t->services[0].flags |= C10M_USER_TIMEOUT_OPTION;
	t->services[0].user_timeout_ms = 30000;
	test_start(t);
	inject(t, "S seq 0 win 60000 mss 1460 fo 0");
	expect(t, "S. seq 0 ack 1 mss 1460 uto 30 fo 8");
	inject(t, "R seq 1");
	t->peer->irs_known = false;
	t->peer->iss += 100000;
	t->peer->snd_nxt = t->peer->rcv_nxt = 0;
	inject(t, "S seq 0 win 60000 mss 1460 len 500 fo 8");
	expect(t, "S. seq 0 ack 501 mss 1460 uto 30 fo 8");
	discard_events(t);
	test_finish(t);
}

/* No more of it is taken than the window holds; the rest comes again. */
static void more_data_than_the_window_holds(void **state)
{
	struct test *t = begin_server();

	(void)state;
	t->services[0].receive_bytes = 1000;
	test_start(t);
	get_cookie(t, 0);
	t->app.consume = 0;
	inject(t, "S seq 0 win 60000 mss 1460 len 1400 fo 8");
	expect(t, "S. seq 0 ack 1001 win 0 mss 1460 fo 8");
	discard_events(t);
	t->app.consume = SIZE_MAX;
	app_resume(t, 1);
	expect_nothing(t);
	inject(t, ". seq 1001 ack 1");
	expect(t, ". seq 1 ack 1001 win 1000"); /* there is room by now */
	inject(t, "P. seq 1001 ack 1 len 400");
	assert_int_equal(t->slots[1].rx_bytes, 1400);
	pass_ms(t, 50);
	discard_out(t);
	discard_events(t);
	test_finish(t);
}

/* Who acknowledges what was never sent has not seen our SYN-ACK. */
static void handshake_that_ends_with_a_guess(void **state)
{
	struct test *t = begin_server();

	(void)state;
	test_start(t);
	get_cookie(t, 0);
	t->app.hook = answer_at_once;
	mark(t);
	inject(t, "S seq 0 win 60000 mss 1460 len 500 fo 8");
	discard_events(t);
	discard_out(t);
	inject(t, ". seq 501 ack 5000");
	expect(t, "R seq 5000");
	expect_drop(t, TCP_ACK_INVALID);
	inject(t, ". seq 501 aack %u", t->peer->irs - 10);
	next_out(t);
	expect_drop(t, TCP_ACK_INVALID);
	assert_int_equal(counted(t, tcp_established), 0);
	inject(t, ". seq 501 ack 2921");
	assert_int_equal(counted(t, tcp_established), 1);
	discard_out(t);
	test_finish(t);
}

static void wrong_cookie_opens_as_usual(void **state)
{
	struct test *t = begin_server();

	(void)state;
	test_start(t);
	get_cookie(t, 0);
	t->peer->cookie[3] ^= 1;
	mark(t);
	inject(t, "S seq 0 win 60000 mss 1460 len 500 fo 8");
	expect(t, "S. seq 0 ack 1 mss 1460 fo 8"); /* with the right one */
	expect_no_event(t);
	assert_int_equal(counted(t, tcp_fastopen_bad_cookies), 1);
	inject(t, "P. seq 1 ack 1 len 500");
	expect_event(t, "open#1");
	expect_event(t, "data 500#1");
	discard_out(t);
	test_finish(t);
}

/* Nobody's but the one that it was granted to. */
static void cookie_of_another_address(void **state)
{
	struct test *t = begin_server();

	(void)state;
	test_start(t);
	get_cookie(t, 0);
	t->peers[1].ip = PEER_IP + 1;
	memcpy(t->peers[1].cookie, t->peer->cookie, 16);
	use_peer(t, 1);
	inject(t, "S seq 0 win 60000 mss 1460 len 500 fo 8");
	expect(t, "S. seq 0 ack 1 mss 1460 fo 8");
	expect_no_event(t);
	test_finish(t);
}

/* The key is another one each hour; the one before still counts. */
static void cookie_grows_old(void **state)
{
	struct test *t = begin_server();

	(void)state;
	test_start(t);
	get_cookie(t, 0);
	pass_us(t, 3600ull * SECOND);
	inject(t, "S seq 0 win 60000 mss 1460 len 500 fo 8");
	discard_out(t);
	expect_event(t, "open#1");
	expect_event(t, "data 500#1");
	inject(t, "R seq 501");
	discard_events(t);
	get_cookie(t, 2);
	pass_us(t, 7200ull * SECOND);
	mark(t);
	inject(t, "S seq 0 win 60000 mss 1460 len 500 fo 8");
	expect(t, "S. seq 0 ack 1 mss 1460 fo 8");
	assert_int_equal(counted(t, tcp_fastopen_bad_cookies), 1);
	test_finish(t);
}

/* Forged SYNs with a good cookie cost no more than the service allows; resets do not make room. */
static void no_more_than_allowed_may_wait(void **state)
{
	struct test *t = begin_server();
	uint8_t cookie[16];

	(void)state;
	test_start(t);
	get_cookie(t, 0);
	memcpy(cookie, t->peer->cookie, 16);
	for (unsigned i = 1; i <= 2; i++) {
		use_peer(t, i);
		memcpy(t->peer->cookie, cookie, 16);
		inject(t, "S seq 0 win 60000 mss 1460 len 500 fo 8");
		expect(t, "S. seq 0 ack 501 mss 1460 fo 8");
	}
	discard_events(t);
	use_peer(t, 1);
	inject(t, "R seq 501");
	expect_event(t, "close reset#1");
	mark(t);
	use_peer(t, 3);
	memcpy(t->peer->cookie, cookie, 16);
	inject(t, "S seq 0 win 60000 mss 1460 len 500 fo 8");
	expect(t, "S. seq 0 ack 1 mss 1460 fo 8");
	assert_int_equal(counted(t, tcp_fastopen_overflows), 1);
	expect_no_event(t);
	use_peer(t, 2); /* who completes it makes room */
	inject(t, ". seq 501 ack 1");
	use_peer(t, 4);
	memcpy(t->peer->cookie, cookie, 16);
	inject(t, "S seq 0 win 60000 mss 1460 len 500 fo 8");
	expect(t, "S. seq 0 ack 501 mss 1460 fo 8");
	discard_events(t);
	stack_rebuild(t->stack, t->now_us);
	stack_verify(t->stack);
	test_finish(t);
}

/* While SYN cookies are out nothing is taken from a SYN. */
static void none_while_syn_cookies_are_sent(void **state)
{
	struct test *t = begin_server();

	(void)state;
	t->config.half_open = 1;
	test_start(t);
	get_cookie(t, 0);
	use_peer(t, 1);
	inject(t, "S seq 0 win 60000 mss 1460"); /* the pool is full now */
	expect(t, "S. seq 0 ack 1 mss 1460");
	use_peer(t, 0);
	mark(t);
	inject(t, "S seq 0 win 60000 mss 1460 len 500 fo 8");
	expect(t, "S. seq 0 ack 1 mss 1460");
	assert_int_equal(counted(t, tcp_cookies_sent), 1);
	assert_int_equal(counted(t, tcp_fastopen_overflows), 1);
	inject(t, "P. seq 1 ack 1 len 500");
	expect_event(t, "open#1");
	expect_event(t, "data 500#1");
	discard_out(t);
	test_finish(t);
}

static void off_unless_asked_for(void **state)
{
	struct test *t = test_begin();

	(void)state;
	test_start(t);
	inject(t, "S seq 0 win 60000 mss 1460 fo 0");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, "S seq 0 win 60000 mss 1460 len 100 fo 8");
	expect(t, "S. seq 0 ack 1 mss 1460");
	expect_no_event(t);
	test_finish(t);
}

static void closed_before_the_handshake_is_complete(void **state)
{
	struct test *t = begin_server();

	(void)state;
	test_start(t);
	get_cookie(t, 0);
	inject(t, "S seq 0 win 60000 mss 1460 len 500 fo 8");
	expect_event(t, "open#1");
	expect_event(t, "data 500#1");
	expect(t, "S. seq 0 ack 501 mss 1460 fo 8");
	app_close(t, 1);
	expect_nothing(t);
	inject(t, ". seq 501 ack 1");
	expect(t, "F. seq 1 ack 501");
	inject(t, "F. seq 501 ack 2");
	expect(t, ". seq 2 ack 502");
	expect_event(t, "close normal#1");
	test_finish(t);
}

static void aborted_and_given_up(void **state)
{
	struct test *t = begin_server();

	(void)state;
	test_start(t);
	get_cookie(t, 0);
	inject(t, "S seq 0 win 60000 mss 1460 len 500 fo 8");
	discard_events(t);
	discard_out(t);
	t->peer->irs_known = true;
	app_abort(t, 1);
	discard_out(t);
	expect_event(t, "close aborted#1");
	inject(t, "S seq 0 win 60000 mss 1460 len 500 fo 8");
	discard_events(t);
	discard_out(t);
	pass_ms(t, 200000); /* nobody completes it */
	discard_out(t);
	expect_event(t, "close timeout#2");
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

/* --- the client */

static struct test *begin_client(void)
{
	struct test *t = test_begin();

	t->active = true;
	t->services[1].flags |= C10M_FASTOPEN;
	t->config.no_timestamps = true;
	t->config.no_sack = true;
	t->config.no_window_scale = true;
	for (unsigned i = 0; i < 16; i++)
		t->peer->cookie[i] = (uint8_t)(i * 5 + 1);
	return t;
}

static void connect_with_data(struct test *t, uint32_t bytes)
{
	static uint16_t port = 5000;
	uint8_t data[4000];
	struct c10m_connect_request request = {.service = 1,
					       .remote_address = t->peer->ip,
					       .remote_port = t->peer->port,
					       .local_port = ++port,
					       .data = data,
					       .data_bytes = bytes};
	int error;

	for (unsigned i = 0; i < bytes; i++)
		data[i] = stream_byte(i);
	flush(t);
	t->peer->stack_port = port;
	t->peer->irs_known = false;
	t->peer->timestamps = false;
	t->peer->iss += 100000;
	t->peer->snd_nxt = t->peer->rcv_nxt = 0;
	assert_true(c10m_connect(stack_worker(t->stack), &request, &error) != 0);
	flush(t);
}

static void end_it(struct test *t)
{
	inject(t, "R seq 1");
	discard_events(t);
	discard_out(t);
}

static void learn_cookie(struct test *t, uint32_t cookie_bytes)
{
	connect_with_data(t, 100);
	expect(t, "S seq 0 mss 1460 fo 0"); /* asks for one */
	inject(t, "S. seq 0 ack 1 win 60000 mss 1460 fo %u", cookie_bytes);
	discard_events(t);
	expect(t, "P. seq 1 ack 1 len 100");
	end_it(t);
}

static void data_goes_with_the_syn_once_a_cookie_is_known(void **state)
{
	struct test *t = begin_client();

	(void)state;
	test_start(t);
	learn_cookie(t, 16);
	connect_with_data(t, 100);
	expect(t, "S seq 0 mss 1460 len 100 fo 16");
	inject(t, "S. seq 0 ack 101 win 60000 mss 1460");
	expect_event(t, "open#1");
	expect(t, ". seq 101 ack 1");
	pass_ms(t, 3000);
	expect_nothing(t);
	test_finish(t);
}

/* As much as fits beside the options; the rest follows. */
static void more_than_fits_into_the_syn(void **state)
{
	struct test *t = begin_client();

	(void)state;
	test_start(t);
	learn_cookie(t, 8);
	connect_with_data(t, 2000);
	expect(t, "S seq 0 mss 1460 len 1444 fo 8");
	inject(t, "S. seq 0 ack 1445 win 60000 mss 1460");
	discard_events(t);
	expect(t, "P. seq 1445 ack 1 len 556");
	inject(t, ". seq 1 ack 2001");
	test_finish(t);
}

/* The server has taken the SYN alone, or a part: the rest goes as usual. */
static void data_that_the_server_did_not_take(void **state)
{
	struct test *t = begin_client();

	(void)state;
	test_start(t);
	learn_cookie(t, 8);
	connect_with_data(t, 100);
	expect(t, "S seq 0 mss 1460 len 100 fo 8");
	inject(t, "S. seq 0 ack 1 win 60000 mss 1460 fo 8");
	discard_events(t);
	expect(t, "P. seq 1 ack 1 len 100");
	end_it(t);
	connect_with_data(t, 100);
	expect(t, "S seq 0 mss 1460 len 100 fo 8");
	inject(t, "S. seq 0 ack 41 win 60000 mss 1460");
	discard_events(t);
	expect(t, "P. seq 41 ack 1 len 60");
	inject(t, ". seq 1 ack 101");
	test_finish(t);
}

static void acknowledgement_of_more_than_the_syn_held(void **state)
{
	struct test *t = begin_client();

	(void)state;
	test_start(t);
	learn_cookie(t, 8);
	connect_with_data(t, 100);
	expect(t, "S seq 0 mss 1460 len 100 fo 8");
	inject(t, "S. seq 0 ack 102 win 60000 mss 1460");
	expect(t, "R seq 102");
	expect_drop(t, TCP_ACK_INVALID);
	expect_no_event(t);
	test_finish(t);
}

/* A SYN that was lost goes again bare; that destination gets none with data for a while. */
static void path_that_does_not_bear_it(void **state)
{
	struct test *t = begin_client();

	(void)state;
	test_start(t);
	learn_cookie(t, 8);
	mark(t);
	connect_with_data(t, 100);
	expect(t, "S seq 0 mss 1460 len 100 fo 8");
	expect_after(t, 1000, "S seq 0 mss 1460");
	inject(t, "S. seq 0 ack 1 win 60000 mss 1460");
	discard_events(t);
	expect(t, "P. seq 1 ack 1 len 100");
	assert_int_equal(counted(t, tcp_fastopen_switched_off), 1);
	end_it(t);
	for (unsigned i = 0; i < 3; i++) { /* that these arrive says nothing */
		connect_with_data(t, 100);
		expect(t, "S seq 0 mss 1460");
		inject(t, "S. seq 0 ack 1 win 60000 mss 1460");
		discard_events(t);
		discard_out(t);
		end_it(t);
	}
	pass_ms(t, 61000);
	connect_with_data(t, 100);
	expect(t, "S seq 0 mss 1460 len 100 fo 8");
	inject(t, "S. seq 0 ack 101 win 60000 mss 1460");
	discard_events(t);
	discard_out(t);
	test_finish(t);
}

static void answer_bare(struct test *t)
{
	inject(t, "S. seq 0 ack 1 win 60000 mss 1460");
	discard_events(t);
	discard_out(t);
	end_it(t);
}

/* The pause is twice as long after the next loss; many that are lost at a time are one. */
static void pauses_get_longer(void **state)
{
	struct test *t = begin_client();

	(void)state;
	test_start(t);
	learn_cookie(t, 8);
	mark(t);
	for (unsigned i = 0; i < 2; i++) {
		use_peer(t, i);
		connect_with_data(t, 100);
		expect(t, "S seq 0 mss 1460 len 100 fo 8");
	}
	use_peer(t, 0);
	expect_after(t, 1000, "S seq 0 mss 1460");
	use_peer(t, 1);
	expect(t, "S seq 0 mss 1460");
	answer_bare(t);
	use_peer(t, 0);
	answer_bare(t);
	assert_int_equal(counted(t, tcp_fastopen_switched_off), 1);
	pass_ms(t, 61000);
	connect_with_data(t, 100);
	expect(t, "S seq 0 mss 1460 len 100 fo 8");
	expect_after(t, 1000, "S seq 0 mss 1460");
	answer_bare(t);
	assert_int_equal(counted(t, tcp_fastopen_switched_off), 2);
	pass_ms(t, 110000);
	connect_with_data(t, 100);
	expect(t, "S seq 0 mss 1460");
	answer_bare(t);
	pass_ms(t, 11000);
	connect_with_data(t, 100);
	expect(t, "S seq 0 mss 1460 len 100 fo 8");
	inject(t, "S. seq 0 ack 101 win 60000 mss 1460");
	discard_events(t);
	discard_out(t);
	test_finish(t);
}

/* As long as the server said that its segments may be, the last time. */
static void server_of_a_small_mss(void **state)
{
	struct test *t = begin_client();

	(void)state;
	test_start(t);
	connect_with_data(t, 100);
	expect(t, "S seq 0 mss 1460 fo 0");
	inject(t, "S. seq 0 ack 1 win 60000 mss 1000 fo 8");
	discard_events(t);
	expect(t, "P. seq 1 ack 1 len 100");
	end_it(t);
	connect_with_data(t, 1984);
	expect(t, "S seq 0 mss 1460 len 984 fo 8");
	inject(t, "S. seq 0 ack 985 win 60000 mss 1000");
	discard_events(t);
	expect(t, "P. seq 985 ack 1 len 1000");
	inject(t, ". seq 1 ack 1985");
	test_finish(t);
}

/* A long cookie takes the room of the user timeout. */
static void no_room_for_all_options(void **state)
{
	struct test *t = begin_client();

	(void)state;
	t->config.no_timestamps = t->config.no_sack = t->config.no_window_scale = false;
	t->services[1].flags |= C10M_USER_TIMEOUT_OPTION;
	t->services[1].user_timeout_ms = 30000;
	test_start(t);
	connect_with_data(t, 100);
	expect(t, "S seq 0 mss 1460 sackok ts 0 wscale 0 uto 30 fo 0");
	inject(t, "S. seq 0 ack 1 win 60000 mss 1460 fo 16");
	discard_events(t);
	expect(t, "P. seq 1 ack 1 len 100");
	end_it(t);
	connect_with_data(t, 100);
	expect(t, "S seq 0 mss 1460 sackok ts 0 wscale 0 len 100 fo 16");
	inject(t, "S. seq 0 ack 101 win 60000 mss 1460");
	discard_events(t);
	discard_out(t);
	test_finish(t);
}

/* A server's cookie goes to no other server that shares its place. */
static void cookies_go_to_whom_they_are_from(void **state)
{
	struct test *t = begin_client();
	struct fastopen_entry *entries;

	(void)state;
	test_start(t);
	learn_cookie(t, 8);
	entries = t->stack->core.fastopen;
	for (unsigned i = 0; i < FASTOPEN_ENTRIES; i++)
		if (entries[i].remote_ip == PEER_IP)
			for (unsigned k = 0; k < FASTOPEN_ENTRIES; k++)
				entries[k] = entries[i];
	t->peer->ip = PEER_IP + 1;
	connect_with_data(t, 100);
	expect(t, "S seq 0 mss 1460 fo 0");
	t->peer->ip = PEER_IP;
	connect_with_data(t, 100);
	expect(t, "S seq 0 mss 1460 len 100 fo 8");
	test_finish(t);
}

/* The first SYN arrived after all: its answer comes when the second is out. */
static void late_answer_to_the_first_syn(void **state)
{
	struct test *t = begin_client();

	(void)state;
	test_start(t);
	learn_cookie(t, 8);
	connect_with_data(t, 100);
	discard_out(t);
	expect_after(t, 1000, "S seq 0 mss 1460");
	inject(t, "S. seq 0 ack 101 win 60000 mss 1460");
	discard_events(t);
	expect(t, ". seq 101 ack 1");
	test_finish(t);
}

/* Both open at a time: the peer has taken what our SYN carried, or a part, or nothing. */
static void simultaneous_open_with_data(void **state)
{
	static const uint32_t taken[] = {100, 40, 0};
	struct test *t = begin_client();

	(void)state;
	test_start(t);
	learn_cookie(t, 8);
	for (unsigned i = 0; i < 3; i++) {
		connect_with_data(t, 100);
		expect(t, "S seq 0 mss 1460 len 100 fo 8");
		inject(t, "S seq 0 win 60000 mss 1460");
		expect(t, "S. seq 0 ack 1 mss 1460");
		inject(t, i == 1 ? "S. seq 0 ack %u win 60000 mss 1460" : ". seq 1 ack %u win 60000",
		       1 + taken[i]);
		t->peer->snd_nxt = 1;
		expect_event(t, i == 0 ? "open#1" : i == 1 ? "open#2" : "open#3");
		if (taken[i] < 100)
			expect(t, "P. seq %u ack 1 len %u", 1 + taken[i], 100 - taken[i]);
		inject(t, ". seq 1 ack 101");
		pass_ms(t, 3000);
		expect_nothing(t);
		end_it(t);
	}
	test_finish(t);
}

/* The handshake gets through, and nothing behind it. */
static void path_that_swallows_all_that_follows(void **state)
{
	struct test *t = begin_client();

	(void)state;
	test_start(t);
	learn_cookie(t, 8);
	connect_with_data(t, 2000);
	expect(t, "S seq 0 mss 1460 len 1444 fo 8");
	inject(t, "S. seq 0 ack 1445 win 60000 mss 1460");
	discard_events(t);
	mark(t);
	pass_ms(t, 60000);
	discard_out(t);
	assert_int_equal(counted(t, tcp_fastopen_switched_off), 1);
	end_it(t);
	connect_with_data(t, 100);
	expect(t, "S seq 0 mss 1460");
	inject(t, "S. seq 0 ack 1 win 60000 mss 1460");
	discard_events(t);
	expect(t, "P. seq 1 ack 1 len 100");
	inject(t, ". seq 1 ack 101");
	mark(t);
	app_send(t, 2, 100); /* a silence later is no sign of it */
	pass_ms(t, 60000);
	discard_out(t);
	discard_events(t);
	assert_int_equal(counted(t, tcp_fastopen_switched_off), 0);
	test_finish(t);
}

static void first_data_without_fast_open(void **state)
{
	struct test *t = begin_client();

	(void)state;
	t->services[1].flags = 0;
	test_start(t);
	connect_with_data(t, 100);
	expect(t, "S seq 0 mss 1460");
	inject(t, "S. seq 0 ack 1 win 60000 mss 1460");
	expect_event(t, "open");
	expect(t, "P. seq 1 ack 1 len 100");
	inject(t, ". seq 1 ack 101");
	test_finish(t);
}

static void first_data_that_makes_no_sense(void **state)
{
	struct test *t = begin_client();
	struct c10m_connect_request request = {
		.service = 1, .remote_address = PEER_IP, .remote_port = 9, .data_bytes = 10};
	int error = 0;

	(void)state;
	t->services[1].send_bytes = 1000;
	test_start(t);
	assert_true(c10m_connect(stack_worker(t->stack), &request, &error) == 0);
	assert_int_equal(error, -22);
	request.data = t;
	request.data_bytes = 1001;
	assert_true(c10m_connect(stack_worker(t->stack), &request, &error) == 0);
	assert_int_equal(error, -22);
	flush(t);
	expect_nothing(t);
	test_finish(t);
}

static void no_memory_for_the_first_data(void **state)
{
	struct test *t = begin_client();
	struct c10m_connect_request request = {.service = 1, .remote_address = PEER_IP, .remote_port = 9};
	uint8_t data[4000] = {0};
	int error = 0;

	(void)state;
	t->config.chunks = (struct chunk_config){{1, 0, 1}};
	test_start(t);
	request.data = data;
	request.data_bytes = sizeof(data);
	flush(t);
	assert_true(c10m_connect(stack_worker(t->stack), &request, &error) == 0);
	assert_int_equal(error, -12);
	flush(t);
	expect_nothing(t);
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(cookie_is_granted_to_who_asks),
	TEST(data_in_the_syn_is_answered_at_once),
	TEST(data_is_acknowledged_with_the_syn_ack),
	TEST(lost_answer_goes_again),
	TEST(lost_answer_closes_the_window),
	TEST(user_timeout_goes_with_the_answer),
	TEST(more_data_than_the_window_holds),
	TEST(handshake_that_ends_with_a_guess),
	TEST(wrong_cookie_opens_as_usual),
	TEST(cookie_of_another_address),
	TEST(cookie_grows_old),
	TEST(no_more_than_allowed_may_wait),
	TEST(none_while_syn_cookies_are_sent),
	TEST(off_unless_asked_for),
	TEST(closed_before_the_handshake_is_complete),
	TEST(aborted_and_given_up),
	TEST(data_goes_with_the_syn_once_a_cookie_is_known),
	TEST(more_than_fits_into_the_syn),
	TEST(data_that_the_server_did_not_take),
	TEST(acknowledgement_of_more_than_the_syn_held),
	TEST(path_that_does_not_bear_it),
	TEST(pauses_get_longer),
	TEST(server_of_a_small_mss),
	TEST(no_room_for_all_options),
	TEST(cookies_go_to_whom_they_are_from),
	TEST(late_answer_to_the_first_syn),
	TEST(simultaneous_open_with_data),
	TEST(path_that_swallows_all_that_follows),
	TEST(first_data_without_fast_open),
	TEST(first_data_that_makes_no_sense),
	TEST(no_memory_for_the_first_data),
};

PACKET_MAIN(tests)
