/*
 * Lease, deadline and fencing token: the core of the library's safety argument, small enough to be searched completely.
 *
 * Checked by spin (see tests/model_deno_test.ts). Every interleaving of two participants, one backend, one network, one
 * fenced resource and the passing of time is visited. A pause at any point is an interleaving in which time passes and a
 * participant takes no step, so pauses need no code of their own.
 *
 * What is assumed, and nothing else:
 *  - A1  The backend carries out each request in one atomic step, and forgets nothing that it has granted.
 *  - A2  Against the backend's clock, a participant's clock loses at most DRIFT ticks within any LEASE ticks. It may gain
 *        any number: that only shortens a term, so a fast clock is not modelled. Suspended machines are inside A2,
 *        since the library measures with the larger of monotonic and wall-clock elapsed.
 *  - A3  The network may lose, delay without limit, repeat and reorder; it does not forge.
 *  - A4  A participant uses the answer of its latest call only: an earlier one was given up, its outcome is unknown.
 *
 * What is checked:
 *  - S1  no instant at which both participants' isLeader is true;
 *  - S2  whoever's isLeader is true holds the live lease of the backend;
 *  - S3  tokens strictly increase from term to term;
 *  - S4  the resource, which refuses lower tokens, never carries out a write of an earlier term after one of a later;
 *  - S5  a late request of a term changes nothing of another.
 *
 * Variants that spin must refute, each by its own -D:
 *  FROM_ANSWER   validity counted from the answer instead of from before the request        (S1)
 *  NO_DRIFT      validity as long as the lease: nothing is taken off for a slow clock       (S1)
 *  BY_NAME       release compares no term: a late one frees the lease of another            (S1, with TERMS=3, LEASE=2)
 *  LATE_RELEASE  the lease is released before the participant has stepped down              (S1)
 *  TOKEN_RESET   the token starts anew when a lease is released                             (S3)
 *  NO_FENCE      the resource takes every token                                             (S4, with FENCE)
 * Two searches: the first checks S1, S2, S3 and S5. With -D FENCE the second checks S3 and S4 with no assumption on time
 * at all (A2 is dropped): a participant believes that it leads for as long as it likes.
 *
 * Two terms are searched by default, in seconds; -D TERMS=3 takes minutes and a gigabyte, and finds nothing more.
 *
 * S2 implies S1 here and is refuted by shorter traces; -D ONLY_S1 leaves it out, so that S1 itself is seen to fail.
 *
 * Liveness is not modelled; the simulation checks it.
 */

#define N 2
#ifndef LEASE
#define LEASE 3
#endif
#define DRIFT 1
#ifndef TERMS
#define TERMS 2
#endif

#ifdef NO_DRIFT
#define VALID LEASE
#else
#define VALID (LEASE - DRIFT)
#endif

mtype = { NONE, ACQUIRE, RENEW, RELEASE, GRANTED, HELD, RENEWED, LOST };
mtype = { FOLLOWER, ASKING, LEADER };

/* The backend. `owner` is the term that holds the lease, 0 for none; the lease lives while `left` > 0. */
byte owner, left, counter;
#define MOST (TERMS + 1)   /* a repeated request may have a term granted anew, so there can be more grants than terms */

/* The participants. `valid`: ticks of the own clock until the deadline; `age`: ticks since the current call was sent. */
mtype role[N] = FOLLOWER;
byte term[N], token[N], valid[N], age[N];
byte sinceLoss[N];   /* ticks since this clock last lost one; A2 */
byte terms;          /* terms that were begun, also the identity of the latest: the model's termId */

/* The network: the current call's request and answer, and one request that lingers (given up, or repeated). */
mtype asked[N] = NONE, answer[N] = NONE, late[N] = NONE;
byte askedTerm[N], answerToken[N], lateTerm[N];

/* The resource, and one write of each participant that is under way. */
#ifdef FENCE
byte writeToken[N], highest;
#endif

/* Ghosts, for the properties only: how many leases were granted, by which of those a participant leads or writes. */
byte grants, lastToken, answerGrant[N], grant[N], writeGrant[N], lastWrite;

#define isLeader(p) (role[p] == LEADER && valid[p] > 0)
#define holds(p) (left > 0 && owner == term[p])
#define idle(p) (asked[p] == NONE && answer[p] == NONE)

inline send(p, what) {
  asked[p] = what; askedTerm[p] = term[p]; age[p] = 0
}

/* The call ends. A request still under way lingers, in place of an earlier lingering one, which is thereby lost. */
inline endCall(p) {
  if
  :: asked[p] != NONE -> late[p] = asked[p]; lateTerm[p] = askedTerm[p]
  :: else
  fi;
  asked[p] = NONE; askedTerm[p] = 0; answer[p] = NONE; answerToken[p] = 0; answerGrant[p] = 0; age[p] = 0
}

inline stepDown(p) {
  role[p] = FOLLOWER; valid[p] = 0; token[p] = 0; grant[p] = 0
}

proctype Participant(byte p) {
  do
  :: atomic { role[p] == FOLLOWER && idle(p) && terms < TERMS ->
       terms++; term[p] = terms; role[p] = ASKING; send(p, ACQUIRE) }
  :: atomic { role[p] == ASKING && idle(p) -> send(p, ACQUIRE) }             /* again, by the same term */
  :: atomic { role[p] == ASKING && answer[p] == HELD -> endCall(p); stepDown(p) }
  :: atomic { role[p] == ASKING && answer[p] == GRANTED ->
       token[p] = answerToken[p]; grant[p] = answerGrant[p];
#ifdef FROM_ANSWER
       age[p] = 0;
#endif
       if
       :: age[p] < VALID -> role[p] = LEADER; valid[p] = VALID - age[p]
       :: else -> stepDown(p)                                                /* the answer came too late */
       fi;
       endCall(p) }
  :: atomic { isLeader(p) && idle(p) -> send(p, RENEW) }
  :: atomic { isLeader(p) && answer[p] == RENEWED ->
#ifdef FROM_ANSWER
       age[p] = 0;
#endif
       if
       :: age[p] < VALID && VALID - age[p] > valid[p] -> valid[p] = VALID - age[p]
       :: else
       fi;
       endCall(p) }
  :: atomic { role[p] == LEADER && answer[p] == LOST -> endCall(p); stepDown(p) }
  :: atomic { role[p] == LEADER && valid[p] == 0 -> endCall(p); stepDown(p) }
  :: atomic { isLeader(p) ->                                                 /* give leadership up, then release */
       endCall(p); late[p] = RELEASE; lateTerm[p] = term[p];
#ifdef LATE_RELEASE
       valid[p] = valid[p] }
#else
       stepDown(p) }
#endif
  :: atomic { !idle(p) -> endCall(p) }                                       /* a time-out, at any moment */
#ifdef FENCE
  :: atomic { isLeader(p) && writeToken[p] == 0 -> writeToken[p] = token[p]; writeGrant[p] = grant[p] }
#endif
  od
}

/* Carries out one request, sent by the term `by`, in one step. `outcome` is what would be answered. */
inline carryOut(what, by) {
  if
  :: what == ACQUIRE && left > 0 && owner != by -> outcome = HELD
  :: what == ACQUIRE && left > 0 && owner == by -> outcome = GRANTED; left = LEASE
  :: what == ACQUIRE && left == 0 && counter < MOST ->
       outcome = GRANTED; owner = by; left = LEASE; counter++;
       assert(counter > lastToken);                                          /* S3 */
       lastToken = counter; grants++
  :: what == ACQUIRE && left == 0 && counter >= MOST -> outcome = HELD       /* bounds the search, nothing else */
  :: what == RENEW && left > 0 && owner == by -> outcome = RENEWED; left = LEASE
  :: what == RENEW && !(left > 0 && owner == by) -> outcome = LOST
#ifdef BY_NAME
  :: what == RELEASE -> outcome = NONE; owner = 0; left = 0
#else
  :: what == RELEASE && owner != by -> outcome = NONE
  :: what == RELEASE && owner == by ->
       outcome = NONE; owner = 0; left = 0;
#ifdef TOKEN_RESET
       counter = 0
#endif
#endif
  fi
}

inline tellToken(p) {
  if
  :: outcome == GRANTED -> answerToken[p] = counter; answerGrant[p] = grants
  :: else
  fi
}

/* What becomes of a participant's call: it is answered, or its answer is lost, or it is carried out and comes again. */
inline answerCall(p) {
  carryOut(asked[p], askedTerm[p]);
  if
  :: answer[p] = outcome; tellToken(p)
  :: true
  :: answer[p] = outcome; tellToken(p);
     late[p] = asked[p]; lateTerm[p] = askedTerm[p]
  fi;
  asked[p] = NONE; askedTerm[p] = 0; outcome = NONE
}

/* A lingering request is carried out, or lost. */
inline arriveLate(p) {
  if
  :: carryOut(late[p], lateTerm[p])
  :: true
  fi;
  late[p] = NONE; lateTerm[p] = 0; outcome = NONE
}

#ifdef FENCE
/* A write reaches the resource, which carries it out or refuses it. */
inline write(p) {
  if
#ifdef NO_FENCE
  :: true ->
#else
  :: writeToken[p] < highest
  :: writeToken[p] >= highest ->
#endif
     assert(writeGrant[p] >= lastWrite);                                     /* S4 */
     highest = writeToken[p]; lastWrite = writeGrant[p]
  fi;
  writeToken[p] = 0; writeGrant[p] = 0
}
#endif

proctype Backend() {
  mtype outcome = NONE;
  do
  :: atomic { asked[0] != NONE -> answerCall(0) }
  :: atomic { asked[1] != NONE -> answerCall(1) }
  :: atomic { late[0] != NONE -> arriveLate(0) }
  :: atomic { late[1] != NONE -> arriveLate(1) }
#ifdef FENCE
  :: atomic { writeToken[0] != 0 -> write(0) }
  :: atomic { writeToken[1] != 0 -> write(1) }
#endif
  od
}

/* One tick of a participant's clock; lost, if A2 allows. */
inline tick(p) {
  if
#ifdef FENCE
  :: true
#else
  :: sinceLoss[p] == LEASE -> sinceLoss[p] = 0
  :: true ->
     if :: valid[p] > 0 -> valid[p]-- :: else fi;
     if :: !idle(p) && age[p] < VALID -> age[p]++ :: else fi;
     if :: sinceLoss[p] < LEASE -> sinceLoss[p]++ :: else fi
#endif
  fi
}

proctype Time() {
  do
  :: atomic { if :: left > 0 -> left-- :: else fi; tick(0); tick(1) }
  od
}

#ifndef FENCE
/* Reachable states are all that counts for an invariant, so one process that may look at any moment sees them all. */
active proctype Monitor() {
  do
  :: atomic { isLeader(0) && isLeader(1) -> assert(!(isLeader(0) && isLeader(1))) }            /* S1 */
#ifndef ONLY_S1
  :: atomic { isLeader(0) && !holds(0) -> assert(!isLeader(0) || holds(0)) }                   /* S2, S5 */
  :: atomic { isLeader(1) && !holds(1) -> assert(!isLeader(1) || holds(1)) }
#endif
  od
}
#endif

init {
  atomic { sinceLoss[0] = LEASE; sinceLoss[1] = LEASE; run Participant(0); run Participant(1); run Backend(); run Time() }
}
