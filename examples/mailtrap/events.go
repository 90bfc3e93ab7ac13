package main

import (
	"net/http"

	"golang.org/x/net/websocket"
)

// An event is what /api/events tells.
type event struct {
	Type string
	Data any
}

// publish tells all who listen. Who does not keep up misses events.
func (t *trap) publish(kind string, data any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.subs {
		select {
		case c <- event{kind, data}:
		default:
		}
	}
}

// events is a WebSocket on which each message is told when it comes.
func (t *trap) events() http.Handler {
	return &websocket.Server{Handler: func(ws *websocket.Conn) {
		c := make(chan event, 1000)
		t.mu.Lock()
		t.subs[c] = struct{}{}
		t.mu.Unlock()
		defer func() {
			t.mu.Lock()
			delete(t.subs, c)
			t.mu.Unlock()
		}()
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			var ignored string
			for websocket.Message.Receive(ws, &ignored) == nil {
			}
		}()
		for {
			select {
			case e := <-c:
				if websocket.JSON.Send(ws, e) != nil {
					return
				}
			case <-gone:
				return
			case <-ws.Request().Context().Done():
				return
			}
		}
	}}
}
