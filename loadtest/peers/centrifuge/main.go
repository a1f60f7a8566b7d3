// Centrifuge as a server for the load tests. It speaks its own JSON protocol, which the generator translates; the data of a
// publication is the whole DDP message, so that clients get the same bytes as from the others. Says yes to every login and
// subscription by itself.
//
//	PORT=.. TRANSPORTER=nats://.. centrifuge
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"

	"github.com/centrifugal/centrifuge"
)

// changed is a DDP message that brings an event to a client.
type changed struct {
	Msg        string `json:"msg"`
	Collection string `json:"collection"`
	ID         string `json:"id"`
	Fields     fields `json:"fields"`
}

type fields struct {
	EventName string            `json:"eventName"`
	Args      []json.RawMessage `json:"args"`
}

func main() {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		log.Fatal(err)
	}
	node.OnConnecting(func(_ context.Context, event centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: event.Token}}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(_ centrifuge.SubscribeEvent, reply centrifuge.SubscribeCallback) {
			reply(centrifuge.SubscribeReply{}, nil)
		})
		// The protocol has no ping of clients; this is what one costs.
		client.OnRPC(func(_ centrifuge.RPCEvent, reply centrifuge.RPCCallback) {
			reply(centrifuge.RPCReply{Data: []byte("{}")}, nil)
		})
	})
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}

	publish := func(collection, eventName string, argument json.RawMessage) {
		message, err := json.Marshal(changed{"changed", collection, "id", fields{eventName, []json.RawMessage{argument}}})
		if err != nil {
			log.Fatal(err)
		}
		if _, err := node.Publish(collection+"/"+eventName, message); err != nil {
			log.Fatal(err)
		}
	}
	if err := join(os.Getenv("TRANSPORTER"), publish); err != nil {
		log.Fatal(err)
	}

	// Every client is let in, as by the other peers, wherever its page is from.
	anyOrigin := func(*http.Request) bool { return true }
	http.Handle("/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{CheckOrigin: anyOrigin}))
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
