/*
 * The life of jobs: lease, log and conversation. README.md says what is
 * modelled, what is abstracted and how to check it.
 *
 * One atomic block is one call to the store; between two blocks everybody else
 * may move, and every process may stop for ever.
 *
 * Nothing counts up. A document's version is one bit per process: "what I read
 * is still the newest". Whoever writes the document clears the bit of everybody
 * else, so a compare-and-set succeeds exactly where the bit is set. A log
 * position is one bit as well: "the key after the last event", else "a key
 * under which a batch begins".
 */

#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef RECONCILERS
#define RECONCILERS 2
#endif
#define JOBS 2
#define MAXATT 3

#define SUBMITTER (WORKERS + RECONCILERS)
#define CANCELLER (WORKERS + RECONCILERS + 1)
#define BIT(p) (1 << (p))
#define ME (1 << me)

/* With FAULTS the number of faults is bounded, which liveness needs: whoever
   may fail for ever never ends. Without it everything may fail at any time. */
#ifdef FAULTS
byte faults = FAULTS;
#define MAYFAIL (faults > 0)
#define FAIL faults--
#else
#define MAYFAIL true
#define FAIL skip
#endif

mtype:state = { none, queued, running, ended };

typedef Job {
	mtype:state st = none;
	unsigned att : 2;
	bit handed;		/* handed back: the next claim costs no attempt */
	unsigned owner : 2;	/* worker + 1; 0: nobody */
	byte fresh;		/* who has read this version of the document */
	bit closed;		/* the log has its terminal event */
	byte held		/* which workers believe that they run it */
};
Job job[JOBS];
byte exact;			/* of those, who is at the end of its job's log */
byte headed;			/* which claims have seen their job at the head of the queue */

/* The conversation document: its queue, in submit order. */
byte queue;			/* bit j: job j has not ended */
byte qfresh;
#define HEAD(j) ((queue & (BIT(j + 1) - 1)) == BIT(j))

#define FRESH(j) (job[j].fresh & ME)
#define QFRESH (qfresh & ME)
#define IDLE (((job[0].fresh | job[1].fresh) & ME) == 0)
#define LOOKSAT ((job[0].fresh & ME) -> 0 : 1)	/* which job, where not IDLE */
#ifdef NOFENCE
#define ABSENT true
#else
#define ABSENT (exact & ME)
#endif

#ifdef FAULTS
/* The bus: a message is there or not. There may be any number of copies of it,
   in any order. */
bit msg[JOBS];
#define TOLD(j) (msg[j])
#define NUDGED(j) (!msg[j] && HEAD(j))
inline publish(j) {
	if
	:: msg[j] = 1
	:: MAYFAIL -> FAIL
	fi
}
inline ack(j) { msg[j] = 0 }
#else
/* A copy of a message may come at any time, as late as you like. */
#define TOLD(j) true
#define NUDGED(j) HEAD(j)
inline publish(j) { skip }
inline ack(j) { skip }
#endif

/* Whoever cannot commit any more is as good as back at its start: bits nobody
   will look at are cleared, which keeps the states few. */
inline lost(j, who) {
	job[j].fresh = job[j].fresh & ~(who);
	headed = headed & ~((who) & ~job[1 - j].fresh);
	qfresh = qfresh & ~((who) & ~job[1 - j].fresh & ~job[1 - j].held & ~BIT(SUBMITTER))
}

/* put stores a batch. The promises of the log are asserted here. Other holders
   of j then have a key that is taken; of those who only looked at the job the
   commit has to fail, for it has a batch with the same key. */
inline put(j, fin) {
	assert(!job[j].closed);			/* nothing after the terminal event */
	assert(!(job[j].held & ME) || (exact & ME));	/* dense, nothing overwritten */
	exact = exact & ~(job[j].held & ~ME);
	lost(j, ~job[j].held & ~ME);
	job[j].closed = fin
}

/* A write replaces the whole document by a changed copy: from an old copy it
   would undo what somebody else wrote. */
inline write_job(j) {
	assert(FRESH(j));
	lost(j, ~ME)
}
inline write_conversation(q) {
	assert(QFRESH);
	queue = q; qfresh = 0
}

inline read_job(j) { job[j].fresh = job[j].fresh | ME }
inline read_conversation() { qfresh = qfresh | ME }

inline forget(j) {
	job[j].fresh = job[j].fresh & ~ME; job[j].held = job[j].held & ~ME;
	qfresh = qfresh & ~ME; exact = exact & ~ME; headed = headed & ~ME;
	j = 0
}

/* commit_end is the terminal commit: document, closing batch, conversation.
   Its precondition is FRESH(j) && QFRESH, and for a holder ABSENT. */
inline commit_end(j) {
	if
	:: MAYFAIL -> FAIL			/* it did not land */
	:: put(j, 1);
		assert(job[j].st == queued || job[j].st == running);
		assert(job[j].st == queued || !(job[j].held & ME) || job[j].owner == me + 1);
		job[j].st = ended; job[j].owner = 0; job[j].handed = 0; job[j].att = 0;
		write_job(j);
		write_conversation(queue & ~BIT(j));
		if				/* tell of the new head */
		:: queue & 1 -> publish(0)
		:: (queue & 3) == 2 -> publish(1)
		:: queue == 0
		:: MAYFAIL -> FAIL		/* gone before that */
		fi
	fi
}

proctype Worker(byte me) {
	bit j;
#ifdef FAULTS
	bit busy;
#endif

end_claim:
	do
	/* Read the job. */
	:: atomic {
		if
		:: IDLE && TOLD(0) && job[0].st == queued -> read_job(0)
		:: IDLE && TOLD(1) && job[1].st == queued -> read_job(1)
		:: IDLE && TOLD(0) && job[0].st == ended -> ack(0)
		:: IDLE && TOLD(1) && job[1].st == ended -> ack(1)
		fi }
	/* Read the conversation, which is not part of the commit. */
	:: atomic { !IDLE && !(headed & ME) ->
		j = LOOKSAT;
		if
		:: HEAD(j) -> headed = headed | ME; read_conversation(); j = 0
		:: !HEAD(j) -> ack(j); forget(j)
		fi }
	/* Cancelled, or its time is over: end it. */
	:: atomic { (headed & ME) && QFRESH ->
		j = LOOKSAT;
		commit_end(j); forget(j) }
	/* Claim. */
	:: atomic { (headed & ME) ->
		j = LOOKSAT;
		if
		:: MAYFAIL -> FAIL; forget(j)		/* it did not land */
		:: put(j, 0);
			assert(job[j].st == queued && job[j].owner == 0);
			assert(HEAD(j));			/* in order */
			assert(job[1 - j].st != running);	/* one at a time */
			assert(job[j].att < MAXATT || job[j].handed);
			job[j].st = running; job[j].att = job[j].att + 1 - job[j].handed;
			job[j].handed = 0; job[j].owner = me + 1;
			write_job(j);
			headed = headed & ~ME; qfresh = qfresh & ~ME;
			if
			:: MAYFAIL -> FAIL; forget(j)		/* gone */
			:: job[j].held = job[j].held | ME; exact = exact | ME;
				if
				:: goto hold
				:: MAYFAIL -> FAIL; job[j].fresh = 0; goto readback
				fi
			fi
		fi }
	od;

readback:
	/* The answer is lost. The batch in the log has the own name, so the commit
	   landed; but the document may have been written since. */
	atomic {
		if
#ifdef TRUSTS_READBACK
		:: read_job(j)
#else
		:: job[j].owner == me + 1 -> read_job(j)
		:: job[j].owner != me + 1 -> forget(j); goto end_claim
#endif
		fi
	};

hold:	do
	:: atomic {				/* append: the log only, no document */
#ifdef FAULTS
		!busy -> busy = 1;
#endif
		if
		:: ABSENT ->
			/* No effect of an owner that lost its lease. */
			assert(job[j].st == running && job[j].owner == me + 1);
			put(j, 0)
		:: !ABSENT -> break		/* fenced */
		fi }
	:: atomic {				/* heartbeat: the document only */
#ifdef FAULTS
		!busy -> busy = 1;
#endif
		if
		:: FRESH(j) ->
			assert(job[j].st == running && job[j].owner == me + 1);
			write_job(j);
			if
			:: skip
			:: MAYFAIL -> FAIL; job[j].fresh = 0	/* the answer is lost */
			fi
		:: !FRESH(j) && job[j].owner == me + 1 -> read_job(j)
		:: !FRESH(j) && job[j].owner != me + 1 -> break
		fi }
	:: atomic { ABSENT && !QFRESH -> read_conversation() }
	:: atomic { QFRESH ->			/* finish */
		if
		:: FRESH(j) && ABSENT -> commit_end(j);
			if
			:: job[j].st == ended -> break
			:: job[j].st != ended
			fi
		:: !(FRESH(j) && ABSENT) -> break	/* the lease is lost */
		fi }
	:: atomic { MAYFAIL && FRESH(j) && ABSENT ->	/* hand back; counted as a fault */
		FAIL;
		put(j, 0);
		assert(job[j].st == running && job[j].owner == me + 1);
		job[j].st = queued; job[j].owner = 0; job[j].handed = 1;
		write_job(j);
		publish(j);
		break }
	:: atomic { MAYFAIL -> FAIL; break }	/* gone */
	od;
	atomic {
		forget(j);
#ifdef FAULTS
		busy = 0;
#endif
		goto end_claim
	}
}

/* A reconciler may take any lease for dead at any time, a live one as well: it
   stands for every clock and every pause. */
proctype Reconciler(byte me) {
	bit j;

end_idle:
	do
	/* Read the job, the log's tail and the conversation. */
	:: atomic {
		if
		:: IDLE && job[0].st == running
		:: IDLE && job[1].st == running -> j = 1
		/* A queued job that nobody takes, and whose turn it is: tell the workers again. */
		:: IDLE && job[0].st == queued && NUDGED(0) -> lost(0, ~0); publish(0); goto end_idle
		:: IDLE && job[1].st == queued && NUDGED(1) -> lost(1, ~0); publish(1); goto end_idle
		fi;
		read_job(j); read_conversation(); j = 0 }
	:: atomic { !IDLE ->
		j = LOOKSAT;
		if
		:: QFRESH -> commit_end(j)	/* cancelled, or no time or attempt is left */
		:: MAYFAIL -> FAIL		/* the commit did not land */
		:: job[j].att < MAXATT ->	/* requeue */
			put(j, 0);
			assert(job[j].st == running);
			job[j].st = queued; job[j].owner = 0;
			write_job(j);
			publish(j)
		:: !QFRESH			/* a submit came first: once more */
		fi;
		forget(j) }
	od
}

proctype Submitter(byte me) {
	byte j;

	do
	:: j == JOBS -> break
	:: j < JOBS && !QFRESH -> atomic { read_conversation() }
	:: atomic { QFRESH ->
		if
		:: MAYFAIL -> FAIL; break	/* it did not land: not accepted */
		:: job[j].st = queued;
			write_conversation(queue | BIT(j));
			if
			:: HEAD(j) -> publish(j)
			:: !HEAD(j)		/* whoever ends the one before tells of it */
			fi;
			j++
		fi }
	od;
	qfresh = qfresh & ~ME
}

/* The canceller ends queued jobs itself. What it wants of a running one is a
   document of its own; whoever would read it may end the job anyway. */
proctype Canceller(byte me) {
	bit j;

end_idle:
	do
	:: atomic {
		if
		:: IDLE && job[0].st == queued
		:: IDLE && job[1].st == queued -> j = 1
		fi;
		read_job(j); read_conversation(); j = 0 }
	:: atomic { !IDLE ->
		j = LOOKSAT;
		if
		:: QFRESH -> commit_end(j)
		:: !QFRESH
		fi;
		forget(j) }
	od
}

init {
	byte i;
	atomic {
		for (i : 0 .. WORKERS - 1) { run Worker(i) }
		for (i : WORKERS .. WORKERS + RECONCILERS - 1) { run Reconciler(i) }
		run Submitter(SUBMITTER);
		run Canceller(CANCELLER);
		i = 0
	}
}

#ifdef LIVE
ltl ends {
	[] (job[0].st == none || <> (job[0].st == ended)) &&
	[] (job[1].st == none || <> (job[1].st == ended))
}
#endif
