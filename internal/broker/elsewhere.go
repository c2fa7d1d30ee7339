package broker

import (
	"math/rand/v2"
	"time"
)

const (
	// movePause is the least time between two moves to another server for want of
	// answers: an election answers nothing either, wherever one asks, and each
	// move has everything that waits for an answer sent again.
	movePause = 30 * time.Second

	// leaveSpread is over how long the clients of a server that is going down leave
	// it: it begins to close their connections after ten seconds.
	leaveSpread = 3 * time.Second
)

// LeaveServer leaves this connection's server for another one of the cluster, if
// any is known and it has not done so lately. A server that is cut off from its
// peers answers pings and JetStream nothing, so no connection ever ends by it.
func (c *Conn) LeaveServer() {
	now := time.Now() // as it is: its monotonic part counts, and nobody can set that back
	last := c.movedAt.Load()
	if last != nil && now.Sub(*last) < movePause || !c.movedAt.CompareAndSwap(last, &now) {
		return
	}
	c.move("it has answered nothing for a while")
}

// leaveLameServer is called when the server says that it is going down. To leave it now
// costs a moment; to be thrown out may cost what is being said just then.
func (c *Conn) leaveLameServer() {
	server := c.NC.ConnectedServerId()
	time.AfterFunc(rand.N(leaveSpread), func() {
		if c.NC.ConnectedServerId() == server {
			c.move("it is going down")
		}
	})
}

func (c *Conn) move(why string) {
	if len(c.NC.Servers()) < 2 {
		return
	}
	c.log.Info("leaving a server for another one", "server", c.NC.ConnectedServerName(),
		"because", why)
	if err := c.NC.ForceReconnect(); err != nil {
		c.log.Debug("reconnect", "error", err) // closed meanwhile
	}
}
