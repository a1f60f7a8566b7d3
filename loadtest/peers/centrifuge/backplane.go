package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats.go"
)

const heartbeat = 5 * time.Second

type packet struct {
	Sender string            `json:"sender"`
	Event  string            `json:"event"`
	Data   []json.RawMessage `json:"data"`
}

// join plays a Moleculer node that only listens, and hands what clients are to hear to publish.
func join(transporter string, publish func(collection, eventName string, argument json.RawMessage)) error {
	// A peer whose bus is gone has nothing left to serve.
	connection, err := nats.Connect(transporter, nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { os.Exit(1) }))
	if err != nil {
		return err
	}
	id := fmt.Sprintf("centrifuge-%d", os.Getpid())
	send := func(subject string, fields map[string]any) {
		fields["ver"], fields["sender"] = "4", id
		payload, err := json.Marshal(fields)
		if err != nil {
			log.Fatal(err)
		}
		if err := connection.Publish(subject, payload); err != nil {
			log.Print(err)
		}
	}
	announce := func(subject string) {
		event := func(name string) map[string]string { return map[string]string{"name": name} }
		service := map[string]any{
			"name": "streamer", "fullName": "streamer", "actions": map[string]any{},
			"events": map[string]any{"watch.messages": event("watch.messages"), "notify.desktop": event("notify.desktop")},
		}
		send(subject, map[string]any{
			"services": []any{service}, "ipList": []string{"127.0.0.1"}, "hostname": "centrifuge", "instanceID": id, "seq": 1,
			"client": map[string]string{"type": "go", "version": "0", "langVersion": "0"},
			"config": map[string]any{}, "metadata": map[string]any{},
		})
	}
	handlers := map[string]func(packet){
		"MOL.EVENT." + id: func(p packet) { handleEvent(p, publish) },
	}
	for _, subject := range []string{"MOL.DISCOVER", "MOL.DISCOVER." + id} {
		handlers[subject] = func(p packet) {
			if p.Sender != id {
				announce("MOL.INFO." + p.Sender)
			}
		}
	}
	for subject, handle := range handlers {
		_, err := connection.Subscribe(subject, func(message *nats.Msg) {
			var p packet
			if err := json.Unmarshal(message.Data, &p); err != nil {
				log.Print(err)
				return
			}
			handle(p)
		})
		if err != nil {
			return err
		}
	}
	send("MOL.DISCOVER", map[string]any{})
	announce("MOL.INFO")
	go func() {
		for range time.Tick(heartbeat) {
			send("MOL.HEARTBEAT", map[string]any{"cpu": 0})
		}
	}()
	return connection.Flush()
}

func handleEvent(p packet, publish func(collection, eventName string, argument json.RawMessage)) {
	switch p.Event {
	case "watch.messages":
		var argument struct{ Message json.RawMessage }
		var room struct{ Rid string }
		if len(p.Data) == 1 && json.Unmarshal(p.Data[0], &argument) == nil && json.Unmarshal(argument.Message, &room) == nil {
			publish("stream-room-messages", room.Rid, argument.Message)
		}
	case "notify.desktop":
		var user string
		if len(p.Data) == 2 && json.Unmarshal(p.Data[0], &user) == nil {
			publish("stream-notify-user", user+"/notification", p.Data[1])
		}
	}
}
