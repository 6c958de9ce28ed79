/*
 * The protocol of the file provider (providers/file/group.ts): numbered files in a directory, and nobody who decides.
 *
 * Checked by spin (see tests/model_deno_test.ts). Each call to the file system is one atomic step, and every order of the
 * steps of three participants is visited, with time passing between any two: a pause needs no code of its own. One leads at
 * first, under a lease that is longer than those of the two others, who ask for it, for one term each.
 *
 * What is assumed, and nothing else:
 *  - F1  link() fails if the name exists. A file once linked is never replaced, and nobody else removes files.
 *  - F2  Each touch sets a time that the file never had. Looks are linearizable: one host, one kernel.
 *  - F3  All clocks advance together (one host). What is added for clock rates is left out.
 *  - F4  A participant whose process is dead takes no step; only the dead are seen as dead (-D DEATH).
 *
 * What each may do at any moment: ask, ask again for the same term after its call was given up, renew, step down and release,
 * stop for any time; with -D EVICTION, end the term that is shown; with -D DEATH, die; with -D SWEEP, remove, step by step,
 * what is below its number; with -D LATE, leave a touch or a link on its way, which is carried out at any later time.
 *
 * What is checked:
 *  - S1  no instant at which two participants lead, other than one that was evicted and has not learned it yet;
 *  - S3  numbers that are granted strictly increase from term to term;
 *  - E   a claim that was released before it was confirmed is not granted.
 *
 * Variants that spin must refute, each by its own -D:
 *  NO_LOOK      a claim is confirmed without a look for a higher number after its touch         (S1)
 *  LOOK_FIRST   a renewal looks for a higher number and then touches                            (S1)
 *  NO_CHECK     a claim does not look whether its predecessor was touched                       (S1)
 *  TRUST_DEAD   a dead claimant is followed without a look whether its claim was good           (S1, with DEATH)
 *  OWN_LEASE    a claim that was withdrawn is passed over after its own lease, though its predecessor's is longer
 *                                                                                               (S1, with LONG=3)
 *  NO_MARK      the look for a higher number has no eye for a release                           (E, with EVICTION)
 *  SWEEP_ALL    the highest number is swept when it was released                                (S3, with SWEEP, EVICTION)
 *
 * Searched in seconds each: the default, SWEEP, TOUCHES=2 (a leader renews once more), LONG=3, and EVICTION with CLAIMS=2.
 * DEATH takes a minute. LATE has not been searched to its end; orders with it are drawn in file_exploration_test.ts.
 */

#define N 3
#ifndef CLAIMS
#define CLAIMS 3
#endif
#ifndef TOUCHES
#define TOUCHES 1
#endif
/* Lengths of leases: they differ, because those of participants may. */
#ifndef LONG
#define LONG 2
#endif
#define SHORT 1
#define lease(p) ((p) == 0 -> LONG : SHORT)
#ifdef DEATH
#define mortal(p) (true)
#else
#define mortal(p) (false)
#endif
#ifdef EVICTION
#define evictor(p) ((p) == 1)
#else
#define evictor(p) (false)
#endif
#ifdef LATE
#define late(p) (true)
#else
#define late(p) (false)
#endif
#define GONE 255   /* in place of a time: the predecessor was released, or is dead */

mtype = { FOLLOWER, ASKING, LEADER, DEAD };

typedef File {
  bool present, released;
  byte owner, id;         /* `id` stands for the unique second name */
  byte mtime;             /* 0: unconfirmed; counts touches */
  byte after, lasts       /* what the claim rests upon: the predecessor's time, and how long it had to stand still */
}
File f[CLAIMS + 1];       /* by number; 0 is never present */
byte claims;              /* how many were linked */

mtype role[N] = FOLLOWER;
byte leads[N] /* the number */, leadsId[N], valid[N], asked[N] /* ticks since the current call began */;
bool calling[N];
byte seenId[N], seenTime[N], still[N];   /* what was seen last, and for how many ticks it has stood still */
bool begun[N];

/* One step that is on its way although its call was given up: a touch, or a link. */
byte lateTouch[N], lateLink[N], lateAfter[N], lateLasts[N];

/* Ghosts. */
bool evicted[N], marked[N];
byte lastToken, lastId;

#define isLeader(p) (role[p] == LEADER && valid[p] > 0 && !evicted[p])
#define most(n) ((n) == 1 -> 2 : TOUCHES)
#define touchable(n, i) (f[n].present && f[n].id == i && f[n].mtime < most(n))

inline highest(n) {
  n = CLAIMS;
  do
  :: n > 0 && !f[n].present -> n--
  :: else -> break
  od
}

inline makeLink(p, number, rests, wait) {
  claims++;
  f[number].present = true; f[number].released = false; f[number].owner = p;
  f[number].id = claims; f[number].mtime = 0; f[number].after = rests; f[number].lasts = wait
}

/* How long a record must stand still. */
#ifdef OWN_LEASE
#define lastsFor(n) lease(f[n].owner)
#else
#define lastsFor(n) ((f[n].mtime == 0 && f[n].lasts > lease(f[n].owner)) -> f[n].lasts : lease(f[n].owner))
#endif

#define stands(n, second) (second == n - 1 && (f[n].after == GONE || \
  (f[n - 1].present && f[n - 1].mtime == f[n].after)))

inline stepDown(p) { role[p] = FOLLOWER; valid[p] = 0; leads[p] = 0; leadsId[p] = 0; evicted[p] = false; marked[p] = false }

inline settle(p, n) {
  if
  :: asked[p] < lease(p) ->
       if
       :: role[p] == ASKING ->
            role[p] = LEADER; leads[p] = n; leadsId[p] = id; valid[p] = 0;
            evicted[p] = f[n].released
       :: else
       fi;
       if :: lease(p) - asked[p] > valid[p] -> valid[p] = lease(p) - asked[p] :: else fi
  :: else                                                             /* the answer comes too late */
  fi
}

inline arriveTouch(p) {
  i = 1;
  do
  :: i <= CLAIMS && touchable(i, lateTouch[p]) -> f[i].mtime++; i = CLAIMS + 1
  :: i <= CLAIMS && !touchable(i, lateTouch[p]) -> i++
  :: else -> break
  od;
  i = 0; lateTouch[p] = 0
}

inline arriveLink(p) {
  if
  :: claims < CLAIMS && !f[lateLink[p]].present -> makeLink(p, lateLink[p], lateAfter[p], lateLasts[p])
  :: else
  fi;
  lateLink[p] = 0; lateAfter[p] = 0; lateLasts[p] = 0
}

/* The locals are cleared with the last step of a call, lest states differ in nothing but what was. */
inline clear() { asked[p] = 0; calling[p] = false; marked[p] = false; n = 0; second = 0; id = 0; time = 0; age = 0; rests = 0; wait = 0; low = 0; gone = false }

inline see(p) {
  time = f[n].mtime; id = f[n].id;
  if
  :: seenId[p] == id && seenTime[p] == time -> age = still[p]
  :: else -> seenId[p] = id; seenTime[p] = time; still[p] = 0; age = 0
  fi
}

#define over(n) (!f[n].present || f[n].id != id)

proctype Participant(byte p) {
  byte n, second, id, time, age, rests, wait, low;
  bool gone;

idle:
  if
  :: atomic { role[p] == FOLLOWER && !begun[p] && begun[p - 1] -> begun[p] = true; role[p] = ASKING; calling[p] = true; goto look }
  :: atomic { role[p] == ASKING -> calling[p] = true; goto look }          /* again, by the same term */
  :: atomic { role[p] == ASKING -> stepDown(p); goto idle }           /* it lets the term go */
  :: atomic { role[p] == LEADER && valid[p] > 0 -> calling[p] = true; n = leads[p]; id = leadsId[p]; goto renew }
  :: atomic { role[p] == LEADER && valid[p] == 0 -> stepDown(p); goto idle }
  :: atomic { role[p] == LEADER -> n = leads[p]; id = leadsId[p]; stepDown(p); goto release }
  :: atomic { mortal(p) -> role[p] = DEAD; valid[p] = 0; goto dead }
  :: atomic { evictor(p) -> highest(n);
       id = f[n].id;
       /* read() shows nobody while a claim does not stand */
       if
       :: n > 0 && !f[n].released && (f[n].mtime > 0 || f[n].after == GONE || f[n - 1].mtime == f[n].after) -> goto evict
       :: else -> clear(); goto idle
       fi }
  fi;

look:                                                                 /* list ... */
  atomic {
    highest(n);
    second = n;
    if
    :: n == 0 -> rests = GONE; goto claim
    :: else -> second--
    fi;
    do
    :: second > 0 && !f[second].present -> second--
    :: else -> break
    od;
    gone = f[n].released
  }
  atomic {                                                            /* ... then stat, and read what never changes */
    if
    :: !f[n].present -> n = 0; second = 0; gone = false; goto look
    :: else -> see(p)
    fi;
    if
    :: f[n].owner == p && time == 0 -> goto confirm
    :: f[n].owner == p && time != 0 && !gone -> goto renew
    :: else
    fi;
    if
    :: role[f[n].owner] == DEAD -> gone = true
    :: else
    fi;
    if
    :: gone && time != 0 -> rests = GONE; goto claim
    :: age >= lastsFor(n) -> rests = time; wait = lastsFor(n); goto claim
#ifdef TRUST_DEAD
    :: gone && time == 0 -> rests = GONE; goto claim
#endif
    :: gone && time == 0 -> skip
    :: else -> clear(); goto idle
    fi
  }
  atomic {                                                            /* stat of the predecessor */
    if
    :: !over(n) && stands(n, second) -> rests = GONE
    :: else -> clear(); goto idle
    fi
  }

claim:
  if
  :: atomic { n == CLAIMS || claims == CLAIMS || (n < CLAIMS && f[n + 1].present) -> clear(); goto idle }
  :: atomic { n < CLAIMS && claims < CLAIMS && !f[n + 1].present -> makeLink(p, n + 1, rests, wait); n = 0; second = 0; id = 0; time = 0; age = 0; rests = 0; wait = 0; gone = false }
  :: atomic { n < CLAIMS && lateLink[p] == 0 && late(p) ->            /* given up */
       lateLink[p] = n + 1; lateAfter[p] = rests; lateLasts[p] = wait; clear(); goto idle }
  fi;
  goto look;

confirm:                                                              /* stat of the predecessor */
  if
  :: atomic { true -> clear(); goto idle }                            /* given up; it asks again */
#ifdef NO_CHECK
  :: atomic { !over(n) -> second = 0 }
#else
  :: atomic { over(n) || !stands(n, second) -> clear(); goto idle }
  :: atomic { !over(n) && stands(n, second) -> second = 0 }
#endif
  fi;

renew:
#ifdef LOOK_FIRST
  atomic { highest(low); if :: low != n || f[n].released -> stepDown(p); clear(); goto idle :: else -> low = 0 fi };
#endif
  if                                                                  /* touch ... */
  :: atomic { touchable(n, id) -> marked[p] = f[n].released; f[n].mtime++ }
  :: atomic { touchable(n, id) && lateTouch[p] == 0 && late(p) -> lateTouch[p] = id; clear(); goto idle }   /* given up */
  :: atomic { over(n) -> stepDown(p); clear(); goto idle }
  :: atomic { !over(n) && f[n].mtime == most(n) -> clear(); goto idle }                    /* bounds the search */
  fi;
#ifdef NO_LOOK
  if :: atomic { role[p] == ASKING -> settle(p, n); goto sweep } :: else fi;
#endif
#ifndef LOOK_FIRST
  atomic {                                                            /* ... list ... */
    highest(low);
    if
    :: low != n -> stepDown(p); clear(); goto idle
#ifndef NO_MARK
    :: low == n && f[n].released -> stepDown(p); clear(); goto idle
#endif
    :: else ->                                                        /* here it is decided, whenever the answer comes */
       if
       :: role[p] == ASKING ->
            assert(!marked[p]);                                       /* E */
            assert(n > lastToken || id == lastId);                    /* S3 */
            lastToken = n; lastId = id
       :: else
       fi;
       low = 0
    fi
  };
#endif
  atomic {                                                            /* ... then stat */
    if
    :: over(n) -> stepDown(p); clear(); goto idle
    :: else -> settle(p, n)
    fi
  };

sweep:
  do
#ifdef SWEEP
  :: atomic { low < n -> f[low].present = false; low++ }
#endif
  :: atomic { clear(); goto idle }                                    /* done, or given up */
#ifdef SWEEP_ALL
  :: atomic { low == n && f[n].released -> f[n].present = false; clear(); goto idle }
#endif
  od;

release:
  atomic { if :: !over(n) -> f[n].released = true :: else fi; clear(); goto idle };

evict:
  atomic {
    if
    :: !over(n) -> f[n].released = true; if :: leadsId[f[n].owner] == id -> evicted[f[n].owner] = true :: else fi
    :: else
    fi;
    clear();
    goto idle
  };

dead:
  skip
}

/* What was on its way when its call was given up. The process need not live: the kernel carries it out. */
proctype Late() {
  byte i;
  do
  :: atomic { lateTouch[0] != 0 -> arriveTouch(0) }
  :: atomic { lateTouch[1] != 0 -> arriveTouch(1) }
  :: atomic { lateTouch[2] != 0 -> arriveTouch(2) }
  :: atomic { lateLink[0] != 0 -> arriveLink(0) }
  :: atomic { lateLink[1] != 0 -> arriveLink(1) }
  :: atomic { lateLink[2] != 0 -> arriveLink(2) }
  od
}

inline tick(p) {
  if :: valid[p] > 0 -> valid[p]-- :: else fi;
  if :: calling[p] && asked[p] < LONG -> asked[p]++ :: else fi;
  if :: seenId[p] > 0 && still[p] < LONG -> still[p]++ :: else fi
}

proctype Time() {
  do
  :: atomic { tick(0); tick(1); tick(2) }
  od
}

active proctype Monitor() {
  do
  :: atomic { isLeader(0) && isLeader(1) -> assert(!(isLeader(0) && isLeader(1))) }            /* S1 */
  :: atomic { isLeader(0) && isLeader(2) -> assert(!(isLeader(0) && isLeader(2))) }
  :: atomic { isLeader(1) && isLeader(2) -> assert(!(isLeader(1) && isLeader(2))) }
  od
}

init {
  atomic {
    claims = 1; lastToken = 1; lastId = 1;
    f[1].present = true; f[1].id = 1; f[1].mtime = 1; f[1].after = GONE;
    begun[0] = true; role[0] = LEADER; leads[0] = 1; leadsId[0] = 1; valid[0] = lease(0);
    run Participant(0); run Participant(1); run Participant(2);
#ifdef LATE
    run Late();
#endif
    run Time()
  }
}
