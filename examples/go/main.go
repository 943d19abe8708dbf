package main

import (
	"fmt"
	"net/http"
	"os"

	"github.com/go-chi/chi/v5"
)

func main() {
	router := chi.NewRouter()
	router.Get("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "Hello from Go") })
	if err := http.ListenAndServe(":"+os.Getenv("PORT"), router); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
