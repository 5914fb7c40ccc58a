/*
 * Admission: how jobs of one tenant share its slots. README.md says what is
 * modelled and how to check it.
 *
 * What a commit has read under a compare-and-set is as if read at the commit
 * itself: had it changed, the commit would have failed. So such reads are part
 * of the commit's atomic block. What no version protects is a block of its own
 * before it: "which slot is free" and "which job waits for one".
 */

#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef JOBS
#define JOBS 4
#endif
#define NOBODY 4

/* Jobs 0 and 1 are one conversation, 2 and 3 have one each. */
#define AFTER(j) ((j) == 0 -> 1 : NOBODY)
#define BEFORE_ENDED(j) ((j) != 1 || job[0] == ended)

/* turn: an earlier job of the conversation has not ended. slot: waits for a
   slot. admitted: has one; workers may take it. */
mtype = { none, turn, slot, admitted, ended };
mtype job[4] = none;
byte holder[SLOTS] = NOBODY;		/* the slot documents; NOBODY: there is none */
byte busy;				/* operations under way */

#define FREE (holder[0] == NOBODY || holder[SLOTS - 1] == NOBODY)
#define STARVING (job[0] == slot || job[1] == slot || job[2] == slot || job[3] == slot)

inline find_slot(n) {			/* any free one; SLOTS: none is */
	if
	:: holder[0] == NOBODY -> n = 0
	:: holder[SLOTS - 1] == NOBODY -> n = SLOTS - 1
	:: !FREE -> n = SLOTS
	fi
}

inline find_waiting(w) {		/* any job that waits for a slot */
	if
	:: job[0] == slot -> w = 0
	:: job[1] == slot -> w = 1
	:: job[2] == slot -> w = 2
	:: job[3] == slot -> w = 3
	:: !STARVING -> w = NOBODY
	fi
}

inline slot_of(j, n) {
	if
	:: holder[0] == j -> n = 0
	:: holder[0] != j && holder[SLOTS - 1] == j -> n = SLOTS - 1
	:: holder[0] != j && holder[SLOTS - 1] != j -> n = SLOTS
	fi
}

/* admit gives job j slot n: both documents in one commit. */
inline admit(j, n) {
	assert(BEFORE_ENDED(j));		/* one job of a conversation at a time */
	assert(job[j] == none || job[j] == slot || job[j] == turn);
	holder[n] = j; job[j] = admitted
}

/* done ends an operation. Where nothing crashes and nobody is at it, no job may
   wait beside a free slot: nobody would ever look. */
inline done() {
	busy--;
#ifndef CRASHES
	assert(busy > 0 || !FREE || !STARVING);
#endif
}

#ifdef CRASHES
#define MAYCRASH true
#else
#define MAYCRASH false
#endif

/* The looks after a commit; the checks without one of them must fail. */
#ifndef LOOK_SUBMIT
#define LOOK_SUBMIT true	/* after a submit that made its job wait */
#endif
#ifndef LOOK_HEAD
#define LOOK_HEAD true		/* after an end that made the next head wait */
#endif
#ifndef LOOK_FREED
#define LOOK_FREED true		/* after an end that freed a slot, for nobody waited */
#endif

/* look admits job x, which waits for a slot, if there is one. It runs after the
   commit that made x wait: a slot may have gone free since its maker looked. */
inline look(x, n) {
	do
	:: atomic { job[x] != slot -> break }
	:: atomic { job[x] == slot -> find_slot(n) };
		if
		:: n == SLOTS -> break
		:: atomic { n < SLOTS ->
			if
			:: job[x] == slot && holder[n] == NOBODY -> admit(x, n); break
			:: !(job[x] == slot && holder[n] == NOBODY)	/* a conflict: once more */
			fi }
		fi
	od
}

proctype Submitter(byte j) {
	byte n;

	atomic { (j != 1 || job[0] != none) -> busy++ };
	do
	:: atomic { find_slot(n) };
		atomic {
			if
			:: !BEFORE_ENDED(j) -> job[j] = turn; n = SLOTS; break
			:: BEFORE_ENDED(j) && n == SLOTS -> job[j] = slot; break
			:: BEFORE_ENDED(j) && n < SLOTS && holder[n] == NOBODY -> admit(j, n); break
			:: BEFORE_ENDED(j) && n < SLOTS && holder[n] != NOBODY	/* once more */
			fi
		}
	od;
	if
	:: MAYCRASH
	:: LOOK_SUBMIT -> look(j, n)
	:: else
	fi;
	atomic { n = 0; done() }
}

/* end_job is the terminal commit of a job that has a slot or waits. */
inline end_job(j, n, w, x) {
	do
	:: atomic {
		if
		:: job[j] == ended -> x = NOBODY; break
		:: job[j] == admitted -> find_waiting(w); x = 1
		:: job[j] == slot || job[j] == turn -> w = NOBODY; x = 0
		fi
	   };
	   atomic {
		if
		/* The document has changed, or the one that waited is served already. */
		:: (job[j] == admitted) != x || job[j] == ended || (w != NOBODY && job[w] != slot)
		:: else ->
			slot_of(j, n);
			x = ((job[j] != turn && AFTER(j) != NOBODY && job[AFTER(j)] == turn) -> AFTER(j) : NOBODY);
			job[j] = ended;
			if
			:: n == SLOTS && x == NOBODY
			:: n == SLOTS && x != NOBODY -> job[x] = slot		/* nothing to hand over */
			:: n < SLOTS && w != NOBODY ->
				holder[n] = NOBODY; admit(w, n);
				if
				:: x != NOBODY -> job[x] = slot
				:: x == NOBODY
				fi
			:: n < SLOTS && w == NOBODY && x != NOBODY ->
				holder[n] = NOBODY; admit(x, n)
			:: n < SLOTS && w == NOBODY && x == NOBODY -> holder[n] = NOBODY
			fi;
			break
		fi
	   }
	od;
	/* The two looks after the commit. They need the head that was made to wait,
	   or whoever began to wait after find_waiting found nobody. */
	if
	:: MAYCRASH
	:: x != NOBODY && LOOK_HEAD -> look(x, n)
	:: x == NOBODY && w == NOBODY && LOOK_FREED ->
		do
		:: atomic { FREE && STARVING -> find_waiting(w) };
			look(w, n)
		:: atomic { !(FREE && STARVING) -> break }
		od
	:: else
	fi
}

/* Whoever runs job j: one worker or, after it was lost, the next. A job that
   was never submitted waits at a valid end; one that is never admitted does not. */
proctype Runner(byte j) {
	byte n, w, x;

end_submitted:
	job[j] != none;
	atomic { job[j] == admitted || job[j] == ended -> busy++ };
	end_job(j, n, w, x);
	atomic { n = 0; w = 0; x = 0; done() }
}

/* The canceller ends one job, whatever it waits for. */
proctype Canceller() {
	byte j, n, w, x;

end_submitted:
	atomic {
		if
		:: job[0] != none
		:: job[1] != none -> j = 1
		:: job[2] != none -> j = 2
		:: job[3] != none -> j = 3
		fi;
		busy++;
		goto start
	};
start:	end_job(j, n, w, x);
	atomic { j = 0; n = 0; w = 0; x = 0; done() }
}

#ifdef RECONCILER
proctype Reconciler() {
	byte n, w;

end_idle:
	do
	:: atomic { FREE && STARVING -> find_waiting(w) };
		look(w, n);
		atomic { n = 0; w = 0 }
	od
}
#endif

/* Every admitted job has one slot, and no slot has a job that is not admitted:
   so there are never more than SLOTS of them. */
#define OWNS(j) ((holder[0] == (j)) || (holder[SLOTS - 1] == (j)))
#define SOUND(j) ((job[j] == admitted) == OWNS(j))
#define TWICE (SLOTS == 2 && holder[0] != NOBODY && holder[0] == holder[SLOTS - 1])
proctype Monitor() {
end_watch:
	atomic { (!SOUND(0) || !SOUND(1) || !SOUND(2) || !SOUND(3) || TWICE ||
		job[1] == turn && job[0] == ended) -> assert(false) }
}

init {
	byte i;
	atomic {
		for (i : 0 .. JOBS - 1) { run Submitter(i); run Runner(i) }
		i = 0;
#ifndef NOCANCEL
		run Canceller();
#endif
		run Monitor();
#ifdef RECONCILER
		run Reconciler()
#endif
	}
}
