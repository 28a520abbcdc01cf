package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// The numbers of clients: as many as keep a core busy, and a crowd.
const (
	few   = 16
	many  = 64
	crowd = 1000
)

// serving runs a part of a measurement with a server that has so many users.
func (b *bench) serving(ctx context.Context, name, database string, on cores, users int, measure func(s *site, p *process) error) (err error) {
	s, err := newSite(ctx, b.program, b.folder, name, database, on)
	if err != nil {
		return err
	}
	if users > 0 {
		if err := s.populate(ctx, users); err != nil {
			return err
		}
	}
	p, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	return measure(s, p)
}

// beside runs a part of a measurement with a limit that serves.
func (b *bench) beside(ctx context.Context, measure func(*process) error, name string, arguments ...string) error {
	p, err := b.limit(ctx, name, arguments...)
	if err != nil {
		return err
	}
	err = measure(p)
	_ = p.stop() // a limit ends by the signal
	return err
}

// loopLimit is a limit that prints its result.
func (b *bench) loopLimit(ctx context.Context, on cores, arguments ...string) side {
	return func(during time.Duration) (result, error) {
		c := command(ctx, on, []string{"GOMAXPROCS=2"}, append(append([]string{b.self, "limit"}, arguments...), during.String())...)
		c.Stderr = os.Stderr
		out, err := c.Output()
		if err != nil {
			return result{}, err
		}
		var r result
		return r, json.Unmarshal(out, &r)
	}
}

// at makes clients of the same tokens, for a server elsewhere.
func at(address string, clients []*client) []*client {
	moved := make([]*client, len(clients))
	for i, c := range clients {
		moved[i] = &client{address: address, name: c.name, access: c.access, refresh: c.refresh}
	}
	return moved
}

// start measures how long a server takes that has its database and its keys, and its memory before the first user.
func (b *bench) start(ctx context.Context) error {
	s, err := newSite(ctx, b.program, b.folder, "start", "", oneCore)
	if err != nil {
		return err
	}
	var starts []started
	for range 5 * b.rounds {
		p, err := s.start(ctx)
		if err != nil {
			return err
		}
		time.Sleep(warmUp)
		u, err := usageOf(p.command.Process.Pid)
		if err = errors.Join(err, p.stop()); err != nil {
			return err
		}
		starts = append(starts, started{after: p.started, memory: u.Memory})
	}
	return b.report.starts(starts)
}

// hot measures a call whose token and session the server has seen a moment ago.
func (b *bench) hot(name, path string, who func(int) string, step func(*client) error) func(context.Context) error {
	return func(ctx context.Context) error {
		return b.serving(ctx, name, "", oneCore, few, func(s *site, p *process) error {
			clients, err := s.signedIn(few, who)
			if err != nil {
				return err
			}
			return b.beside(ctx, func(l *process) error {
				bare := at(l.address, clients)
				return b.compare(comparison{name: "GET " + path + ", token seen before", limit: "chi + encoding/json", clients: few, target: 0.7},
					func(during time.Duration) (result, error) { return drive(ctx, p, clients, during, step) },
					func(during time.Duration) (result, error) { return drive(ctx, l, bare, during, step) })
			}, "chi")
		})
	}
}

// firstSight measures a call with a token that the server has not seen, of a session that it has.
func (b *bench) firstSight(ctx context.Context) error {
	const perSecond = 30_000
	return b.serving(ctx, "first", "", oneCore, 0, func(s *site, p *process) error {
		clients, err := s.signedIn(few, admin)
		if err != nil {
			return err
		}
		return b.beside(ctx, func(l *process) error {
			bare := at(l.address, clients)
			measure := func(p *process, clients []*client, during time.Duration) (result, error) {
				fresh, err := s.more(clients[0].access, int(perSecond*(during+warmUp).Seconds()))
				if err != nil {
					return result{}, err
				}
				var next atomic.Int64
				r, err := drive(ctx, p, clients, during, func(c *client) error {
					n := int(next.Add(1))
					if n >= len(fresh) {
						return errors.New("ran out of tokens")
					}
					c.access = fresh[n]
					return c.protected()
				})
				return r, err
			}
			return b.compare(comparison{name: "GET /api/user/protected, token never seen", limit: "chi + encoding/json + golang-jwt ES256", clients: few, target: 0.6},
				func(during time.Duration) (result, error) { return measure(p, clients, during) },
				func(during time.Duration) (result, error) { return measure(l, bare, during) })
		}, "chi+jwt", s.keys())
	})
}

// refresh measures chains of refreshes, against the pair of statements alone, and with the HTTP and the signature around it.
func (b *bench) refresh(ctx context.Context) error {
	return b.serving(ctx, "refresh", "", oneCore, many, func(s *site, p *process) error {
		clients, err := s.signedIn(many, user)
		if err != nil {
			return err
		}
		chain := func(during time.Duration) (result, error) { return drive(ctx, p, clients, during, (*client).renew) }
		bare := make([]*client, many)
		err = b.beside(ctx, func(l *process) error {
			for i := range bare {
				bare[i] = &client{address: l.address, refresh: fmt.Sprint(i)}
			}
			return b.compare(comparison{name: "POST /api/user/refresh, SQLite", limit: "chi + the pair through GORM, grouped + golang-jwt ES256", clients: many, target: 0.75},
				chain, func(during time.Duration) (result, error) { return drive(ctx, l, bare, during, (*client).renew) })
		}, "chi+jwt+pair", "sqlite:"+filepath.Join(b.folder, "handler.db"), s.keys())
		if err != nil {
			return err
		}
		err = b.compare(comparison{name: "POST /api/user/refresh, SQLite", limit: "the pair through GORM, grouped, without HTTP and signature", clients: many, target: 0.75},
			chain, b.loopLimit(ctx, oneCore, "pair", "sqlite:"+filepath.Join(b.folder, "pair.db"), fmt.Sprint(many)))
		if err != nil {
			return err
		}
		r, err := drive(ctx, p, clients, b.during, func(c *client) error {
			if err := c.renew(); err != nil {
				return err
			}
			return c.me()
		})
		if err != nil {
			return err
		}
		return b.report.alone("POST refresh, then the first call with its token", many, r)
	})
}

// sqlServer is refresh on SQL Server.
func (b *bench) sqlServer(ctx context.Context) error {
	return b.serving(ctx, "sqlserver", b.database, oneCore, 0, func(s *site, p *process) error {
		clients, err := s.signedIn(few, admin)
		if err != nil {
			return err
		}
		// Connections are made before anything counts, few at a time: the first statements of one may be dear to a server.
		for n := range clients {
			if _, err := drive(ctx, p, clients[:n+1], time.Second, (*client).renew); err != nil {
				return err
			}
		}
		return b.compare(comparison{name: "POST /api/user/refresh, SQL Server", limit: "the pair through GORM, without HTTP and signature", clients: few, target: 0.75},
			func(during time.Duration) (result, error) { return drive(ctx, p, clients, during, (*client).renew) },
			b.loopLimit(ctx, oneCore, "pair", b.database, fmt.Sprint(few)))
	})
}

// growth measures refreshes among a million stored sessions against a thousand.
func (b *bench) growth(ctx context.Context) error {
	return b.serving(ctx, "small", "", oneCore, 0, func(small *site, p *process) error {
		if err := small.fill(ctx, 1_000); err != nil {
			return err
		}
		return b.serving(ctx, "large", "", oneCore, 0, func(large *site, q *process) error {
			if err := large.fill(ctx, 1_000_000); err != nil {
				return err
			}
			at := func(s *site, p *process) (side, error) {
				clients, err := s.signedIn(few, admin)
				return func(during time.Duration) (result, error) { return drive(ctx, p, clients, during, (*client).renew) }, err
			}
			before, err := at(small, p)
			if err != nil {
				return err
			}
			after, err := at(large, q)
			if err != nil {
				return err
			}
			return b.compare(comparison{name: "POST /api/user/refresh among 1,000,000 sessions", limit: "the same among 1,000", clients: few, target: 1 / 1.2, median: true}, after, before)
		})
	})
}

// memory measures the first call of each of many sessions, and the memory after that.
func (b *bench) memory(ctx context.Context) error {
	const live, stored = 100_000, 1_000_000
	return b.serving(ctx, "memory", "", oneCore, 0, func(s *site, p *process) error {
		if err := s.fill(ctx, stored); err != nil {
			return err
		}
		tokens, err := s.first(live)
		if err != nil {
			return err
		}
		var next atomic.Int64
		clients := make([]*client, many)
		for i := range clients {
			clients[i] = newClient(s.address, "")
		}
		for next.Load() < live {
			r, err := drive(ctx, p, clients, b.during, func(c *client) error {
				c.access = tokens[int(next.Add(1)-1)%live]
				return c.me()
			})
			if err != nil {
				return err
			}
			name := fmt.Sprintf("GET /api/user/me, %d of 1,000,000 sessions so far", next.Load())
			if err := b.report.alone(name, many, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// login measures sign-ins on all processors.
func (b *bench) login(ctx context.Context) error {
	return b.serving(ctx, "login", "", allCores, few, func(s *site, p *process) error {
		clients := make([]*client, few)
		for i := range clients {
			clients[i] = newClient(s.address, user(i))
		}
		return b.compare(comparison{name: "POST /api/user/login", limit: "argon2id", clients: few, target: 0.95},
			func(during time.Duration) (result, error) { return drive(ctx, p, clients, during, (*client).login) },
			b.loopLimit(ctx, allCores, "argon2id", "", "2"))
	})
}

// register measures registrations on all processors.
func (b *bench) register(ctx context.Context) error {
	return b.serving(ctx, "register", "", allCores, 0, func(s *site, p *process) error {
		clients := make([]*client, few)
		for i := range clients {
			clients[i] = newClient(s.address, "")
		}
		var names atomic.Int64
		return b.compare(comparison{name: "POST /api/user/register", limit: "argon2id", clients: few},
			func(during time.Duration) (result, error) {
				return drive(ctx, p, clients, during, func(c *client) error {
					c.name = fmt.Sprintf("newcomer-%d", names.Add(1))
					return c.register()
				})
			}, b.loopLimit(ctx, allCores, "argon2id", "", "2"))
	})
}

// visit is what a page does: many calls, now and then a refresh, and seldom a sign-in.
func visit(c *client) error {
	switch n := rand.IntN(1000); { //nolint:gosec // a load
	case n < 1:
		return c.login()
	case n < 50:
		return c.renew()
	default:
		return c.me()
	}
}

// mix measures visits.
func (b *bench) mix(ctx context.Context) error {
	return b.serving(ctx, "mix", "", oneCore, many, func(s *site, p *process) error {
		clients, err := s.signedIn(many, user)
		if err != nil {
			return err
		}
		r, err := drive(ctx, p, clients, b.during, visit)
		if err != nil {
			return err
		}
		return b.report.alone("95 % me, 5 % refresh, 0.1 % login", many, r)
	})
}

// storm measures calls and refreshes before and while a crowd signs in at once, again and again.
func (b *bench) storm(ctx context.Context) error {
	return b.serving(ctx, "storm", "", oneCore, crowd, func(s *site, p *process) error {
		clients, err := s.signedIn(few, admin)
		if err != nil {
			return err
		}
		stormers := make([]*client, crowd)
		for i := range stormers {
			stormers[i] = newClient(s.address, user(i))
		}
		for _, call := range []struct {
			name string
			step func(*client) error
		}{{"GET /api/user/protected", (*client).protected}, {"POST /api/user/refresh", (*client).renew}} {
			before, err := drive(ctx, p, clients, b.during, call.step)
			if err != nil {
				return err
			}
			var during, logins result
			var stormErr error
			var wait sync.WaitGroup
			wait.Go(func() {
				logins, stormErr = drive(ctx, p, stormers, b.during+2*warmUp, (*client).login)
			})
			time.Sleep(warmUp)
			during, err = drive(ctx, p, clients, b.during, call.step)
			wait.Wait()
			if err = errors.Join(err, stormErr); err != nil {
				return err
			}
			if err := b.report.storm(call.name, before, during, logins); err != nil {
				return err
			}
		}
		return nil
	})
}

// soak drives visits for so long, and tells the memory each minute.
func (b *bench) soak(ctx context.Context, during time.Duration) error {
	return b.serving(ctx, "soak", "", oneCore, many, func(s *site, p *process) error {
		clients, err := s.signedIn(many, user)
		if err != nil {
			return err
		}
		for _, c := range clients {
			c.pause = 20 * time.Millisecond // what matters is how much there was, and others may want the machine
		}
		for past := time.Duration(0); past < during; past += time.Minute {
			r, err := drive(ctx, p, clients, time.Minute, visit)
			if err != nil {
				return err
			}
			if err := b.report.minute(past+time.Minute, r); err != nil {
				return err
			}
		}
		return nil
	})
}
