#!/usr/bin/env nextflow
// One process for each slide.
//
//   nextflow run main.nf --slides 'slides/*.svs' --model default --out results
params.model = 'default'
params.out = 'results'

process slide {
    publishDir params.out, mode: 'move'
    memory '8 GB'

    input:
    path file

    output:
    path "${file.baseName}"

    script:
    """
    pixnet-sd run ${file} --model ${params.model} --out ${file.baseName} --nuclei --expand-um 5
    """
}

workflow {
    slide(channel.fromPath(params.slides))
}
