// The seed's example server as one static program: the same answers as grace.py, in an image without any shell.
//
//	/fast  200 at once      /slow  200 after SLOW_S seconds (10)      /health  200, or 500 while made to fail
//	/version  the version   /fail-health, /heal  turn the health answer off and on
//
// SIGTERM closes the listener at once, answers what is under way and exits 0: net/http's own Shutdown.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	version, pod := or("VERSION", "dev"), os.Getenv("HOSTNAME")
	address := net.JoinHostPort(os.Getenv("POD_IP"), or("PORT", "10002"))
	var failing atomic.Bool

	say := func(w http.ResponseWriter, code int, word string) {
		w.Header().Set("X-Version", version)
		w.WriteHeader(code)
		fmt.Fprintf(w, "%s %s %s\n", word, version, pod)
	}
	answer := func(word string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, word) }
	}
	mux := http.NewServeMux()
	mux.Handle("/fast", answer("fast"))
	mux.Handle("/version", answer("version"))
	mux.Handle("/{$}", answer("version"))
	mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(seconds("SLOW_S", 10))
		say(w, http.StatusOK, "slow")
	})
	health := func(w http.ResponseWriter, _ *http.Request) {
		code := http.StatusOK
		if failing.Load() {
			code = http.StatusInternalServerError
		}
		say(w, code, "health")
	}
	mux.HandleFunc("/health", health)
	mux.HandleFunc("/healthz", health)
	mux.HandleFunc("/fail-health", func(w http.ResponseWriter, _ *http.Request) {
		failing.Store(true)
		say(w, http.StatusOK, "fail-health")
	})
	mux.HandleFunc("/heal", func(w http.ResponseWriter, _ *http.Request) {
		failing.Store(false)
		say(w, http.StatusOK, "heal")
	})

	time.Sleep(seconds("START_DELAY_S", 0))
	server := &http.Server{Addr: address, Handler: mux}
	ended := make(chan struct{})
	go func() {
		terms := make(chan os.Signal, 1)
		signal.Notify(terms, syscall.SIGTERM, syscall.SIGINT)
		<-terms
		fmt.Println("SIGTERM")
		time.Sleep(seconds("TERM_DELAY_S", 0))
		if err := server.Shutdown(context.Background()); err != nil {
			fmt.Println("shutdown:", err)
		}
		close(ended)
	}()
	fmt.Printf("grace %s listens on %s\n", version, address)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Println(err)
		os.Exit(1)
	}
	<-ended
	fmt.Println("bye")
}

func or(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func seconds(name string, otherwise float64) time.Duration {
	value, err := strconv.ParseFloat(or(name, ""), 64)
	if err != nil {
		value = otherwise
	}
	return time.Duration(value * float64(time.Second))
}
