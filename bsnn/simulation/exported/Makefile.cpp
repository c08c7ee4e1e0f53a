# make        compile
# make run    simulate the images in inputs/, with the results in results/
# make clean

CXX ?= g++
CXXFLAGS ?= -O3 -march=native
SOURCES = ${sources}
OBJECTS = $$(SOURCES:.cpp=.o)

.PHONY: all run clean

all: main

main: $$(OBJECTS)
	$$(CXX) $$(CXXFLAGS) $$(LDFLAGS) $$^ -o $$@

%.o: %.cpp
	$$(CXX) -std=c++17 -w -ffast-math -fno-finite-math-only $$(CXXFLAGS) -I. -c $$< -o $$@

run: main
	mkdir -p results
	./main --results_dir results/ ${arguments}

# arrays, which are filled once
objects.o: CXXFLAGS += -O0

clean:
	rm -f main $$(OBJECTS)
